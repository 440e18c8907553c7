# cython: language_level=3
"""A native call that answers its stream itself, as the gateway's straight calls do.

Tests of `HTTP2Protocol` compile it: only native code can take a request.
"""

from libc.stdint cimport int32_t, uint8_t, uint32_t

from crewgate._datapath.http2_message cimport HTTP2Message
from crewgate._datapath.http2_protocol cimport HTTP2Protocol, RequestTaker
from crewgate._datapath.in_flight cimport InFlightCall
from crewgate._datapath.nghttp2_library cimport nghttp2_nv


cdef class OwnedCall(InFlightCall):
    """`ended`: the stream and the code of each end that it was told. Then it raises, if `fails`."""

    cdef public list ended
    cdef public bint fails
    cdef HTTP2Message request

    cdef int stream_closed(self, int32_t stream, uint32_t code) except -1:
        self.ended.append((stream, code))
        if self.fails:
            raise ZeroDivisionError
        return 0

    @property
    def path(self):
        return self.request.path.value[:self.request.path.value_size]

    @property
    def body(self):
        return self.request.body

    @property
    def ordinary_fields(self):
        return self.request.block.field_count - self.request.pseudo_count


cdef class EveryRequestTaker(RequestTaker):
    """Takes each whole request whose stream is open; `calls` are those that it made.

    `offered` has the body of each request that it was asked to take. It declines all while it is
    not `willing`.
    """

    cdef public list calls, offered
    cdef public bint willing

    def __init__(self):
        self.calls, self.offered, self.willing = [], [], True

    cdef bint take(self, HTTP2Protocol protocol, HTTP2Message request) except -1:
        cdef OwnedCall call = OwnedCall()
        call.ended, call.request = [], request
        self.offered.append(request.body)
        if not self.willing or not (request.ends or request.body is not None):
            return False
        if not protocol.engine.own(request.stream, call):
            return False
        self.calls.append(call)
        return True


def answer(HTTP2Protocol protocol, OwnedCall call, bytes body):
    """Queue a whole answer."""
    cdef nghttp2_nv status
    status.name, status.namelen = <uint8_t *>b":status", 7
    status.value, status.valuelen = <uint8_t *>b"200", 3
    status.flags = 0
    protocol.engine.submit_head(call.request.stream, &status, 1, False)
    protocol.engine.submit_body(call.request.stream, body, True)
    protocol.answered_native(call.request.stream)


def exchange_of(HTTP2Protocol protocol, OwnedCall call):
    """Give the request of a call to the Python side."""
    return protocol.exchange_of(call.request)
