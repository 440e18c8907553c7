"""The C interface of the part of an HTTP/2 connection that drives its engine."""

from libc.stdint cimport int32_t, uint32_t

from crewgate._datapath.http2_client_engine cimport HTTP2ClientEngine
from crewgate._datapath.pooled_connection cimport PooledConnection
from crewgate._datapath.socket_poller cimport SocketPoller


cdef class HTTP2StreamHost(PooledConnection):
    cdef readonly object engine  # HTTP2ClientEngine, or ngh2's
    cdef HTTP2ClientEngine native  # `engine`, if it is one; else None
    cdef SocketPoller poller
    cdef readonly bytes scheme
    cdef readonly set blocked  # streams whose caller waits until less of the body is queued

    # Add a stream, an HTTP2Stream, that has begun.
    cdef int opened(self, int32_t number, object stream) except -1
    # Fail a call whose request the engine refused, as a whole or after its head.
    cdef int refused(self, object stream) except -1
    # Forget a stream that its caller has released; reset it if `unfinished`.
    cdef int left(self, int32_t number, object stream, bint unfinished) except -1
    # Announce the settings and the windows. The transport must be there.
    cdef int begin(self, SocketPoller poller) except -1
    # How many streams may be open at once; 0 if no more may begin.
    cdef Py_ssize_t streams_max(self) except -1
    # Parse bytes from the server. Raises ngh2.NGH2Error.
    cdef int receive(self, const char *data, Py_ssize_t size) except -1
    # Open the windows of a stream and of the connection by `count` bytes.
    cdef int acknowledge(self, int32_t number, Py_ssize_t count) except -1
    # Write the queued output at the end of this turn.
    cdef int wake(self) except -1
    cdef int reset_stream(self, int32_t number, uint32_t code) except -1
    cdef bint wants_write(self) except -1
    # Return bytes to write now, at most limits.send_bytes; b"" if there are none.
    cdef bytes next_output(self)
