"""The C interface of an HTTP/2 connection to a tool's server."""

from libc.stdint cimport int32_t, uint32_t

from crewgate._datapath.http2_stalled_frame cimport StalledFrameDetector
from crewgate._datapath.http2_stream cimport HTTP2Stream
from crewgate._datapath.http2_stream_host cimport HTTP2StreamHost


cdef class HTTP2Connection(HTTP2StreamHost):
    cdef StalledFrameDetector frames
    cdef dict streams  # by number
    cdef list news  # streams of which some have news for their caller
    cdef double used_at  # when it last carried a call, in monotonic seconds
    cdef bint has_answered
    cdef Py_ssize_t malformed_count  # how many responses were malformed
    cdef bint has_settings  # the server's settings have arrived, so it speaks HTTP/2
    cdef bint is_offered  # the pool knows that another call may begin
    cdef bint is_closing  # the connection accepts no further call
    cdef bint is_over

    cpdef sweep(self, double now)
    cpdef close(self)
    cpdef drained(self)
    cpdef failed(self, error)

    cdef int break_off(self, error, sent_state) except -1
    cdef int break_stalled(self) except -1
    cdef int take_events(self) except -1
    cdef int deliver(self) except -1
    cdef int take_event(self, event) except -1
    cdef int take_part(self, int32_t number, int kind, object item, bint ends) except -1
    cdef int stream_reset(self, int32_t number, uint32_t code) except -1
    cdef int stream_closed(self, int32_t number, object error) except -1
    cdef int go_away(self, int32_t last_number) except -1
    cdef int fail(self, HTTP2Stream stream, error) except -1
    cdef int offer(self) except -1
    cdef int end(self) except -1
