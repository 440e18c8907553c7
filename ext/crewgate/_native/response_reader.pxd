"""The C interface of the reader of responses."""


cdef class ResponseReader:
    cdef readonly int status
    cdef readonly list headers, trailers
    cdef readonly bint complete, reusable, began, informed, bodyless
    cdef bint head_only, until_end, has_body, is_interim
    cdef object make_parser, parser
    cdef tuple errors
    cdef list chunks, informational, codings
    cdef int count, start_bytes
    cdef Py_ssize_t unbounded_bytes

    cdef int restart(self, bint head_only) except -1
    cdef int add(self, bytes data) except -1
    cpdef feed_end(self)
    cdef feed_head(self, bytes data)
    cdef check_start(self, const char *text, Py_ssize_t size)
    cdef end_with_head(self)
    cdef find_end(self)
