"""The C interface of the reader of plain answers."""

from libc.stdint cimport uint8_t, uint32_t

from crewgate._datapath.whole_answer cimport WholeAnswer

cdef extern from "plain_answer.h" nogil:
    enum:
        ANSWER_FIELDS_MAX

    ctypedef enum answer_state:
        ANSWER_NOT_PLAIN
        ANSWER_INCOMPLETE
        ANSWER_COMPLETE

    ctypedef struct answer_slice:
        uint32_t begin, size

    ctypedef struct answer_field:
        answer_slice name, value

    ctypedef struct plain_answer:
        bint is_for_head, has_head, is_chunked, closes
        int status
        uint32_t keep_seconds, field_count, chunk_count, body_size
        answer_field *fields
        answer_slice *chunks

    void answer_begin(plain_answer *answer, uint32_t body_bytes_max, bint is_for_head)
    answer_state answer_read(plain_answer *answer, const uint8_t *data, uint32_t size)
    uint32_t answer_keep_seconds(const uint8_t *text, size_t size)


cdef class PlainAnswer(WholeAnswer):
    cdef plain_answer read  # the parts of the answer, as offsets into `data`
    # All bytes of the answer that have arrived.
    cdef const uint8_t *data  # valid during `take`; after it only if the answer is incomplete
    cdef uint32_t size
    cdef answer_state state
    cdef uint8_t *kept  # `data`, of an answer that comes in pieces; else NULL
    cdef uint32_t kept_room

    cdef int restart(self, bint is_for_head) except -1
    # Read on with the next bytes; return and set `state`.
    cdef answer_state take(self, const char *data, Py_ssize_t size) except? ANSWER_NOT_PLAIN
    # Keep what has arrived for after the call of `take`, if more of the answer is to come.
    cdef int keep(self) except -1
    cdef int forget(self) except -1
    cdef int add(self, const char *data, Py_ssize_t size) except -1
    cdef bytes slice(self, answer_slice at)
    cdef bytes arrived(self)
