"""The C interface of the HTTP/2 protocol of one client connection."""

from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t

from crewgate._datapath.client_socket cimport ClientSocket
from crewgate._datapath.connection_usage_limit cimport ConnectionUsageLimit
from crewgate._datapath.http2_engine cimport HTTP2Engine
from crewgate._datapath.http2_message cimport HTTP2Message
from crewgate._datapath.http2_session cimport Stream, session_event
from crewgate._datapath.wire_protocol cimport NativeWireProtocol


# The protocol asks the taker about each request, in the order of events, once nghttp2 has read a
# whole piece of input. So the stream may be closed already: then `protocol.engine.own` returns
# False. If the taker takes the request, no event has its body. Otherwise the events have the body,
# and `request.body` becomes None.
cdef class RequestTaker:
    # Return True if it has taken the request: then a call owns the stream (`protocol.engine.own`).
    cdef bint take(self, HTTP2Protocol protocol, HTTP2Message request) except -1


cdef class HTTP2Protocol(NativeWireProtocol):
    cdef HTTP2Engine engine                 # None: ngh2's engine serves, and there is no taker
    cdef object python_engine               # ngh2's; None if `engine` serves
    cdef bytes python_output                # the last output of `python_engine`
    cdef public object host                 # ConnectionHost
    cdef ClientSocket socket                # the same, if it is one
    cdef readonly object counters           # ListenerCounters
    cdef public RequestTaker taker          # None: each request becomes an exchange
    cdef readonly dict exchanges            # those of the open streams, by stream number
    cdef readonly set blocked               # exchanges that wait until less of them is queued
    cdef readonly ConnectionUsageLimit usage
    cdef public object shutdown             # GracefulShutdown; None before a drain begins
    cdef bint is_choked, was_active
    cdef bint is_resting                    # its engine has given memory back
    cdef double last_active                 # seconds on the clock of `host`
    cdef bytes known_date
    # Bytes read that are not of a body, since the last output or an empty queue.
    cdef Py_ssize_t control_bytes
    cdef uint64_t events_ns_max             # of one turn, before the other events are put off

    # The owner of the stream calls this after it has queued its whole answer. The protocol then
    # writes the answer, and gives the client `limits.send_wait_seconds_max` to read it.
    cdef int answered_native(self, int32_t stream) except -1
    # Give the stream of a request that the taker took to Python, and return the HTTP2Exchange of
    # the request. Its body (`request.body`) counts as read, and the gateway has not seen it. Return
    # None if the protocol has told the owner that the stream is closed, or if it has refused the
    # request as malformed. If the stream is closed and the protocol has not told the owner yet, it
    # soon ends the exchange, as any other.
    cdef object exchange_of(self, HTTP2Message request)
    # Return the exchange for a request whose stream is closed, so that its call can end.
    cdef object closed_exchange(self, HTTP2Message request)
    cdef int wake(self) except -1
    # The value of a Date field. It asks `host.date()` once between two sweeps.
    cdef bytes date(self)

    cdef int end(self) except -1
    cdef bint has_no_stream(self) noexcept
    cdef bint engine_wants_write(self) except -1
    cdef bint engine_is_over(self) except -1
    cdef int terminate(self) except -1
    cdef int receive_bytes(self, const uint8_t *data, size_t size) except -1
    cdef Py_ssize_t send_bytes(self, const uint8_t **data) except -1
    cdef bint take_received(self, Py_ssize_t size) except -1
    cdef bint take_events(self) except -1
    cdef int take_native(self, session_event *event) except -1
    cdef int take_python(self, object event) except -1
    cdef int take_request(self, HTTP2Message request) except -1
    cdef int body_taken(self, HTTP2Message request) except -1
    cdef object whole_exchange(self, HTTP2Message request)
    cdef int take_data(self, int32_t number, bytes data, bint ends) except -1
    cdef int take_closed(self, int32_t number, uint32_t code, Stream stream) except -1
    cdef int choke(self) except -1
    cdef int sweep_owned(self, double now) except -1
