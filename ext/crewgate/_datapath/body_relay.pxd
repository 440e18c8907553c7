"""The C interface of the relay of one answer's body."""

from libc.stdint cimport int32_t

from crewgate._datapath.http2_protocol cimport HTTP2Protocol


cdef class BodyRelay:
    cdef HTTP2Protocol protocol             # None: it is closed
    cdef int32_t stream
    cdef public Py_ssize_t bytes_out
    cdef public object between_events       # True, False or None
    cdef public Py_ssize_t bytes_allowed
    cdef Py_ssize_t unread

    # Queue the pieces of a body for the client, and remove them from the list. Return False, and
    # change nothing, if the caller must take them.
    cdef bint pass_on(self, list pieces) except -1
    cpdef close(self)
