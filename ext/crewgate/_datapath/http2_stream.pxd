"""The C interface of one call on one stream of an HTTP/2 connection to a tool's server."""

from libc.stdint cimport int32_t

from crewgate._datapath.body_relay cimport BodyRelay
from crewgate._datapath.http2_stream_host cimport HTTP2StreamHost
from crewgate._datapath.request_arena cimport ArenaRequest


cdef class HTTP2Stream:
    cdef readonly object caller
    cdef readonly int32_t number  # 0 before `begin`
    cdef readonly bint is_refused, paused, complete, informed
    cdef public bint reset
    cdef readonly int status
    cdef readonly list headers, trailers
    cdef readonly double deadline
    cdef HTTP2StreamHost connection
    cdef BodyRelay relay  # is offered the body before `caller`; None: there is none
    cdef list chunks
    cdef list informational
    cdef Py_ssize_t informational_count, informational_bytes
    cdef bint is_sending
    cdef bint is_disowned  # the server has stated that it did not process the call
    # How many bytes the connection sends before the first byte of this stream; -1: not begun.
    cdef Py_ssize_t start_offset

    cdef bint is_touched(self) noexcept
    cdef bint needs_body(self) except -1
    cdef object fate(self)
    cdef Py_ssize_t queued(self) except -2
    cdef bint is_full(self) except -1
    cdef bint disown(self) noexcept
    cpdef take(self)
    cpdef resume(self)
    cpdef relay_to(self, BodyRelay relay)
    cdef int take_native_head(self, ArenaRequest head, bint ends) except -1
    cdef int take_head(self, tuple fields, bint ends) except -1
    cdef int take_data(self, bytes data, bint ends) except -1
    cdef int take_trailers(self, tuple fields) except -1
    cdef int take_informational_head(self, tuple fields) except -1
    # Have what has arrived passed on.
    cdef int progressed(self) except -1
    cdef int keep_open(self) except -1
