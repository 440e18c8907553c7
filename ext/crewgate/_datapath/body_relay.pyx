"""Passes the body of an answer on to a client of HTTP/2 as it arrives; see the stub."""

from ngh2 import NGH2Error

from crewgate import limits
from crewgate.core.event_stream import ENDS

from cython cimport final

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int32_t
from libc.string cimport memcmp

from crewgate._datapath.http2_engine cimport HTTP2Engine
from crewgate._datapath.http2_protocol cimport HTTP2Protocol
from crewgate._datapath.http2_session cimport Stream

cdef Py_ssize_t BUFFER_BYTES_MAX = limits.buffer_bytes_max
cdef tuple EVENT_ENDS = ENDS
cdef Py_ssize_t EVENT_END_BYTES_MAX = max(map(len, ENDS))


cdef bint ends_event(list pieces) except -1:
    """Return whether the pieces, joined, end with the end of an event."""
    cdef bytes data = pieces[len(pieces) - 1], end
    cdef Py_ssize_t before
    if PyBytes_GET_SIZE(data) < EVENT_END_BYTES_MAX:
        data = b"".join(pieces)
    for end in EVENT_ENDS:
        before = PyBytes_GET_SIZE(data) - PyBytes_GET_SIZE(end)
        if before >= 0 and memcmp(PyBytes_AS_STRING(data) + before, PyBytes_AS_STRING(end),
                                  PyBytes_GET_SIZE(end)) == 0:
            return True
    return False


@final
cdef class BodyRelay:
    """See the stub."""

    def open(self, HTTP2Protocol protocol not None, int32_t stream):
        if protocol.engine is None:
            return False
        self.protocol, self.stream = protocol, stream
        return True

    cpdef close(self):
        self.protocol = None

    @property
    def is_open(self):
        return self.protocol is not None

    def take_unread(self):
        cdef Py_ssize_t unread = self.unread
        self.unread = 0
        return unread

    cdef bint pass_on(self, list pieces) except -1:
        cdef HTTP2Engine engine
        cdef Stream stream
        cdef bytes piece
        cdef Py_ssize_t size = 0
        if self.protocol is None:
            return False
        for piece in pieces:
            size += PyBytes_GET_SIZE(piece)
        if size == 0:
            return True
        engine = self.protocol.engine
        if size > self.bytes_allowed:
            return False
        try:
            stream = engine.body_of(self.stream)
            if <Py_ssize_t>stream.queued_size + size >= BUFFER_BYTES_MAX:
                return False  # the caller has to wait for the client
            engine.resume(stream)
        except NGH2Error:  # the client has left
            return False
        for piece in pieces:
            engine.append_body(stream, piece)
        self.protocol.wake()
        if self.between_events is not None:
            self.between_events = ends_event(pieces)
        pieces.clear()
        self.bytes_out += size
        self.bytes_allowed -= size
        self.unread += size
        return True
