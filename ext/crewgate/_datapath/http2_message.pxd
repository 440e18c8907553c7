"""The C interface of `http2_message`: the fields of one message head, in one block of memory."""

from libc.stdint cimport int32_t, uint8_t

from crewgate._native.fields cimport message_field

cdef extern from "field_arena.h":
    ctypedef struct arena_block:
        message_field *fields  # in wire order; the pseudo-header fields come first
        size_t field_count
        size_t text_size  # bytes of all names and values


cdef class HTTP2Message:
    cdef readonly int32_t stream
    cdef readonly bint ends  # END_STREAM came with the head
    # All of its body, if that is small and was read in the turn of the head; else None.
    cdef readonly bytes body
    # What a taker that did not take the request has made for the next one; else None.
    cdef object presenter
    cdef bytes request_id  # with which it has asked the gate, whose rules have recorded it
    cdef arena_block *block
    cdef size_t pseudo_count  # block.fields[pseudo_count] is the first ordinary field
    # NULL if the request has no such field. nghttp2 has checked that none comes twice.
    cdef message_field *method
    cdef message_field *path
    cdef message_field *authority
    cdef message_field *scheme
    cdef message_field *status  # of a response

    # Append a copy of a field. The caller has bounded the sizes.
    cdef int add(
        self, const uint8_t *name, size_t name_size, const uint8_t *value, size_t value_size,
        bint is_never_indexed,
    ) except -1
    # Set the pseudo-header fields, once all fields are there.
    cdef void find_pseudo_fields(self) noexcept
    # Return the fields as ngh2 gives them: pairs of bytes, in wire order.
    cdef tuple python_fields(self)


cdef HTTP2Message new_message(int32_t stream)
