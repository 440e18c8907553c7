"""Reads and writes the HTTP/2 of one client, and gives each event to the party that answers it.

If there is a taker, it gets each request first. If it does not take the request, Python gets it.
This module keeps the counts that bound a connection: its bytes, its frames without an answer, and
the answers that its client does not read. It serves no exchange: its subclass in Python does
(crewgate/server/http2.py).
"""

from ngh2 import (
    ConnectionClosed, DataReceived, DenialOfServiceError, ErrorCode, NGH2Error, RequestReceived,
    StreamClosed, TrailersReceived,
)

from crewgate import limits

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from posix.time cimport CLOCK_MONOTONIC

from crewgate._datapath.http2_session cimport (
    EVENT_CLOSED, EVENT_DATA, EVENT_OTHER, EVENT_REQUEST, item_of,
)
from crewgate._datapath.in_flight cimport InFlightCall
from crewgate._datapath.nghttp2_library cimport nghttp2

cdef extern from "clock.h" nogil:
    uint64_t cg_clock_ns(int clock)

# The codes with which nghttp2 ends a connection for its rate of resets, and of glitches.
cdef object FLOODS = frozenset({ErrorCode.INTERNAL_ERROR, ErrorCode.ENHANCE_YOUR_CALM})
cdef uint32_t PROTOCOL_ERROR = ErrorCode.PROTOCOL_ERROR
cdef uint32_t CANCEL = ErrorCode.CANCEL
cdef uint32_t ENHANCE_YOUR_CALM = ErrorCode.ENHANCE_YOUR_CALM


cdef class RequestTaker:
    """See the stub."""

    cdef bint take(self, HTTP2Protocol protocol, HTTP2Message request) except -1:
        raise NotImplementedError


cdef class HTTP2Protocol(NativeWireProtocol):
    """See the stub."""

    def __init__(self, host, engine, counters):
        self.host = host
        self.socket = host if isinstance(host, ClientSocket) else None
        if isinstance(engine, HTTP2Engine):
            self.engine = engine
        else:
            self.python_engine = engine
        self.counters = counters
        self.exchanges = {}
        self.blocked = set()
        self.usage = ConnectionUsageLimit(counters)
        self.last_active = host.now()
        self.events_ns_max = <uint64_t>(limits.turn_frames_seconds_max * 1e9)

    # `WireProtocol`, for the connection.

    cdef bint is_paused(self) except -1:
        return self.closing or self.is_choked or self.is_behind or self.usage.held

    @property
    def paused(self):
        return self.is_paused()

    cdef bint wants_output(self) except -1:
        return self.closing or self.engine_wants_write()

    @property
    def has_output(self):
        return self.wants_output()

    @property
    def requests(self):
        return self.usage.requests

    cdef bint receive_native(self, const uint8_t *data, size_t size) except -1:
        cdef ConnectionUsageLimit usage = self.usage
        usage.octets += size
        self.control_bytes += <Py_ssize_t>size
        try:
            self.receive_bytes(data, size)
        except NGH2Error as error:
            self.is_holding = False
            self.counters.broken_off(flood=isinstance(error, DenialOfServiceError))
            self.end()
            return False
        self.is_holding = self.engine is not None and self.engine.awaits_body()
        return self.is_holding or self.take_received(<Py_ssize_t>size)

    cdef int take_held(self) except -1:
        self.is_holding = False
        self.take_received(0)
        return 0

    cdef bint take_received(self, Py_ssize_t size) except -1:
        """Act on what was received; return whether most of the last `size` bytes were of a body."""
        cdef ConnectionUsageLimit usage = self.usage
        cdef Py_ssize_t body_threshold = self.control_bytes - size // 2
        if self.take_events():
            usage.partial_since = 0.0
        elif usage.drips_at(self.host.now()):
            self.terminate()
        cdef bint is_body = self.control_bytes < body_threshold
        if self.is_behind:
            return is_body
        if self.engine_is_over():
            self.end()
        elif not self.engine_wants_write():
            self.control_bytes = 0  # no frame is due for these bytes
        elif self.control_bytes > <Py_ssize_t>limits.control_bytes_max:
            self.choke()
        return is_body

    def receive(self, bytes data not None):
        cdef bint is_body = self.receive_native(
            <const uint8_t *>PyBytes_AS_STRING(data), <size_t>PyBytes_GET_SIZE(data))
        while self.is_holding or self.is_behind:
            self.take_held()
        return is_body

    cdef Py_ssize_t next_output(self, const uint8_t **data) except -1:
        cdef Py_ssize_t size
        self.control_bytes = 0
        if self.is_choked:
            self.is_choked = False
            self.host.resume()
        try:
            size = self.send_bytes(data)
        except NGH2Error:
            self.end()
            return 0
        self.usage.octets += size
        if self.blocked:
            self.release_blocked()
        if not self.is_behind:
            self.take_events()  # streams whose last frame was just produced are closed
        return size

    def bytes_to_send(self):
        cdef const uint8_t *data = NULL
        cdef Py_ssize_t size = self.next_output(&data)
        return PyBytes_FromStringAndSize(<const char *>data, size) if size else b""

    cdef bint all_sent(self) except -1:
        if self.shutdown is not None and self.has_no_stream() and not self.closing:
            self.closing = self.shutdown.idle(self.host.now())
        if not self.is_behind and self.engine_is_over():
            self.end()
        return not self.closing and self.engine_wants_write()

    def sent_all(self):
        return self.all_sent()

    def lose(self):
        self.is_behind = False
        exchanges, self.exchanges = self.exchanges, {}
        self.blocked.clear()
        for exchange in exchanges.values():
            self.host.run(exchange, exchange.lose)  # one that raises keeps no other from its end
        if self.engine is not None:
            self.engine.lose_owned()

    def sweep(self, double now):
        self.known_date = None
        if self.usage.let_go():
            self.host.resume()
        if self.usage.is_used_up():
            self.drain(urgent=False)
        if not self.closing and self.shutdown is not None and self.shutdown.advance(now):
            self.wake()
        if self.was_active or not self.has_no_stream():
            self.was_active = self.is_resting = False
            self.last_active = now
        elif not self.is_resting:
            self.is_resting = self.engine is not None and self.engine.rest()
        if self.has_no_stream():
            return self.drain_if_idle(now - self.last_active)
        self.sweep_owned(now)
        self.sweep_exchanges(now)
        return True

    # For calls that own a stream.

    cdef int answered_native(self, int32_t stream) except -1:
        cdef Stream found = self.engine.streams.get(stream)
        if found is not None:
            found.answered_at = -1.0  # the next sweep sets the time
        return self.wake()

    cdef object exchange_of(self, HTTP2Message request):
        if not self.engine.disown(request.stream):
            return None
        return self.whole_exchange(request)

    cdef object closed_exchange(self, HTTP2Message request):
        exchange = self.whole_exchange(request)
        self.exchanges.pop(request.stream, None)
        return exchange

    cdef object whole_exchange(self, HTTP2Message request):
        """Return the exchange of a request that the taker took, with its body if it has one."""
        exchange = self.new_exchange(request.stream, request.python_fields(), request.ends)
        if exchange is not None and request.body is not None:
            exchange.bytes_in = PyBytes_GET_SIZE(request.body)
            exchange.complete = True
        return exchange

    cdef int wake(self) except -1:
        """Have the output written at the end of this turn."""
        if self.socket is not None:
            return self.socket.wake_native()
        self.host.wake()
        return 0

    cdef bytes date(self):
        if self.known_date is None:
            self.known_date = self.host.date()
        return self.known_date

    cdef int sweep_owned(self, double now) except -1:
        """Reset the streams whose client does not read its answer."""
        cdef Stream stream
        if self.engine is None or self.engine.owned_count == 0:
            return 0
        for each in list(self.engine.streams.values()):
            stream = each
            if stream.owner is None or stream.is_closed or stream.answered_at == 0.0:
                continue
            if stream.answered_at < 0.0:
                stream.answered_at = now
            elif now - stream.answered_at > <double>limits.send_wait_seconds_max:
                stream.answered_at = 0.0
                self.counters.overdue(answering=True)
                try:
                    self.engine.reset(stream.number, CANCEL)
                except NGH2Error:
                    continue  # the connection has ended
                self.wake()
        return 0

    # The engine.

    cdef bint has_no_stream(self) noexcept:
        return not (self.exchanges or self.is_behind) and (
            self.engine is None or self.engine.owned_count == 0)

    cdef bint engine_wants_write(self) except -1:
        """Return whether the engine has output; True if it is no longer usable."""
        if self.engine is not None:
            return self.engine.is_failed or self.engine.wants_write()
        try:
            return self.python_engine.want_write
        except NGH2Error:
            return True

    cdef bint engine_is_over(self) except -1:
        """Return whether the engine will neither read nor write any more."""
        cdef HTTP2Engine engine = self.engine
        if engine is not None:
            return not engine.is_active or not (nghttp2.session_want_read(engine.session)
                                                or nghttp2.session_want_write(engine.session))
        try:
            return not (self.python_engine.want_read or self.python_engine.want_write)
        except NGH2Error:  # unusable after an error, or a GOAWAY that it sent
            return True

    cdef int terminate(self) except -1:
        """End the connection because its client behaves like an attacker (RFC 9113 §10.5)."""
        engine = self.python_engine if self.engine is None else self.engine
        try:
            engine.terminate_connection(ENHANCE_YOUR_CALM)
        except NGH2Error:
            pass  # the connection has ended
        return 0

    cdef int receive_bytes(self, const uint8_t *data, size_t size) except -1:
        if self.engine is not None:
            return self.engine.receive(data, size)
        self.python_engine.receive_data(
            PyBytes_FromStringAndSize(<const char *>data, <Py_ssize_t>size))
        return 0

    cdef Py_ssize_t send_bytes(self, const uint8_t **data) except -1:
        if self.engine is not None:
            return self.engine.next_output(data)
        self.python_output = self.python_engine.data_to_send(limits.send_bytes)
        data[0] = <const uint8_t *>PyBytes_AS_STRING(self.python_output)
        return PyBytes_GET_SIZE(self.python_output)

    cdef bint take_events(self) except -1:
        """Handle the events of the engine, for a while; return False if there are none."""
        cdef session_event event
        cdef bint was_any = False
        cdef uint64_t until = cg_clock_ns(CLOCK_MONOTONIC) + self.events_ns_max
        if self.engine is None:
            events = self.python_engine.events()
            for each in events:
                self.take_python(each)
            return bool(events)
        while self.engine.next_event(&event):
            was_any = True
            self.take_native(&event)
            if cg_clock_ns(CLOCK_MONOTONIC) > until:
                break
        self.is_behind = self.engine.has_event()
        return was_any

    cdef int take_native(self, session_event *event) except -1:
        cdef object item = item_of(event)
        if event.kind == EVENT_REQUEST:
            return self.take_request(<HTTP2Message>item)
        if event.kind == EVENT_CLOSED:
            return self.take_closed(event.stream, event.code, <Stream>item)
        if event.kind == EVENT_DATA:
            # A piece costs more than its bytes, so small frames of a read are one piece.
            data = b"" if item is None else item
            if not event.ends:
                data = self.engine.with_later_data(data, event)
            self.take_data(event.stream, data, event.ends)
        elif event.kind == EVENT_OTHER:
            self.take_python(item)
        return 0

    cdef int take_python(self, object event) except -1:
        kind = type(event)
        if kind is RequestReceived:
            self.was_active = True
            self.usage.requests += 1
            self.request_received(event.stream_id, event.headers, event.end_stream)
        elif kind is StreamClosed:
            self.take_closed(event.stream_id, event.error_code, None)
        elif kind is DataReceived:
            self.take_data(event.stream_id, event.data, event.end_stream)
        elif kind is TrailersReceived:
            self.trailers_received(event.stream_id, event.headers)
        elif kind is ConnectionClosed and event.error_code != ErrorCode.NO_ERROR:
            self.counters.broken_off(flood=event.error_code in FLOODS)
        return 0

    cdef int take_request(self, HTTP2Message request) except -1:
        self.was_active = True
        self.usage.requests += 1
        if self.taker is not None:
            if not request.ends:
                request.body = self.engine.whole_body(request.stream)
            if self.taker.take(self, request):
                return 0 if request.body is None else self.body_taken(request)
            request.body = None
        self.request_received(request.stream, request.python_fields(), request.ends,
                              request.presenter, request.request_id)
        return 0

    cdef int body_taken(self, HTTP2Message request) except -1:
        """Count the body of a request that the taker took, and open the windows by as much."""
        cdef Py_ssize_t size = PyBytes_GET_SIZE(request.body)
        self.engine.drop_body(request.stream)
        self.control_bytes -= size
        try:
            self.engine.acknowledge_received_data(size, request.stream)
        except NGH2Error:
            return 0  # the connection has ended
        return self.wake() if self.engine.wants_write() else 0

    cdef int take_data(self, int32_t number, bytes data, bint ends) except -1:
        self.control_bytes -= PyBytes_GET_SIZE(data)
        self.data_received(number, data, ends)
        return 0

    cdef int take_closed(self, int32_t number, uint32_t code, Stream stream) except -1:
        """Tell the party that answers a stream of its end. `stream` is of the native engine."""
        self.was_active = True
        owner = None
        if stream is not None:
            owner = stream.owner
            self.engine.forget(stream)
        if code == PROTOCOL_ERROR and self.usage.is_last_broken_stream():
            self.terminate()
        if owner is None:
            self.stream_closed(number)
        else:
            (<InFlightCall>owner).stream_closed(number, code)
        return 0

    cdef int choke(self) except -1:
        """Stop reading until the queued frames are sent; do nothing if none is queued."""
        self.control_bytes = 0
        if self.engine_wants_write():
            if not self.is_choked:
                self.counters.connections_choked += 1
            self.is_choked = True
        return 0

    cdef int end(self) except -1:
        self.closing = True
        self.lose()
        return 0
