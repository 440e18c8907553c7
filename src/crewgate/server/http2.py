"""Speaks HTTP/2 with a client through nghttp2, one exchange a stream, with back-pressure both ways.

A flow-control window opens when the application has read the bytes (`acknowledge_received_data`).
`Exchange.send` waits while the engine holds too much of the response (`queued_body_size`). The
engine reports a closed stream or a flood by an exception; here these are normal events. This module
knows no sockets and no tasks.
"""

import contextlib

import ngh2
from ngh2 import ErrorCode

from crewgate import limits
from crewgate.core import problems
from crewgate.errors import InvalidRequestError
from crewgate.server.connection_usage_limit import ConnectionUsageLimit
from crewgate.server.http2_settings import FLOODS, PSEUDO_FIELDS, is_over, server_engine, terminate
from crewgate.server.http2_shutdown import GracefulShutdown
from crewgate.server.http2_stream import HTTP2Exchange
from crewgate.server.listener_counters import ListenerCounters
from crewgate.server.protocol import ConnectionHost
from crewgate.server.request import read

_PROTOCOL_ERROR = int(ErrorCode.PROTOCOL_ERROR)


class HTTP2:
    """The HTTP/2 protocol of one client connection; a `WireProtocol`.

    `exchanges` are those of the open streams, by stream number. `blocked` are those whose `send`
    waits until less of their response is queued.
    """

    def __init__(self, host: ConnectionHost, counters: ListenerCounters | None = None) -> None:
        self.host = host
        self.counters = counters or ListenerCounters()
        self.closing = False
        self.engine = server_engine()
        self.exchanges: dict[int, HTTP2Exchange] = {}
        self.blocked: set[HTTP2Exchange] = set()
        self._usage = ConnectionUsageLimit(self.counters)
        self._shutdown = GracefulShutdown(self.engine)
        # Open streams that got a response without an exchange.
        self._refused_streams: set[int] = set()
        # Bytes read that are not of a body, since the last `bytes_to_send` or an empty queue.
        self._control_bytes = 0
        self._is_choked = False
        self._last_active = host.now()

    # `WireProtocol`, for the connection.

    @property
    def paused(self) -> bool:
        """Whether nothing is to be read now.

        A client that only sends a body is slowed down by its windows. A client that keeps sending
        while it leaves the server's frames unread is not read.
        """
        return self.closing or self._is_choked or self._usage.held

    @property
    def has_output(self) -> bool:
        """Whether there are bytes to send, or the connection is to be closed."""
        try:
            return self.closing or self.engine.want_write
        except ngh2.NGH2Error:  # the engine is no longer usable
            return True

    def receive(self, data: bytes) -> bool:
        """Parse bytes from the client; return True if most of them were of bodies."""
        self._usage.octets += len(data)
        self._control_bytes += len(data)
        body_threshold = self._control_bytes - len(data) // 2
        try:
            self.engine.receive_data(data)
        except ngh2.NGH2Error as error:
            self.counters.broken_off(flood=isinstance(error, ngh2.DenialOfServiceError))
            self._end()
            return False
        if self._take_events():
            self._usage.partial_since = 0.0
        elif self._usage.drips(self.host.now()):
            terminate(self.engine)
        is_body = self._control_bytes < body_threshold
        if is_over(self.engine):
            self._end()
        elif not self.engine.want_write:
            self._control_bytes = 0  # no frame is due for these bytes
        elif self._control_bytes > limits.control_bytes_max:
            self._choke()
        return is_body

    def bytes_to_send(self) -> bytes:
        """Return the next bytes for the client, which has taken all earlier ones."""
        self._control_bytes = 0
        if self._is_choked:
            self._is_choked = False
            self.host.resume()
        try:
            data = self.engine.data_to_send(limits.send_bytes)
        except ngh2.NGH2Error:
            self._end()
            return b""
        self._usage.octets += len(data)
        if self.blocked:
            self._release_blocked()
        self._take_events()  # streams whose last frame was just produced are closed
        return data

    def sent_all(self) -> bool:
        """Close if a drain or a GOAWAY is complete; return True if there is more to send."""
        if self._shutdown.is_begun and not self.exchanges and not self.closing:
            self.closing = self._shutdown.idle(self.host.now())
        if is_over(self.engine):
            self._end()
        return not self.closing and self.engine.want_write

    def lose(self) -> None:
        """End all exchanges, because the client has disconnected."""
        exchanges, self.exchanges = self.exchanges, {}
        self.blocked.clear()
        for exchange in exchanges.values():
            exchange.lose()

    def drain(self, *, urgent: bool) -> None:
        """Close when no stream is open; see `GracefulShutdown` for the steps."""
        if not self.closing:
            self._shutdown.begin(self.host.now(), urgent=urgent)
            self.host.wake()  # an idle connection sends its GOAWAY from `sent_all`

    def sweep(self, now: float) -> bool:
        """End what is overdue or idle; return False if the connection must be aborted."""
        if self._usage.let_go():
            self.host.resume()
        if self._usage.is_used_up():
            self.drain(urgent=False)
        if not self.closing and self._shutdown.advance(now):
            self.host.wake()
        if not self.exchanges:
            return self._drain_if_idle(now)
        self._last_active = now
        for exchange in list(self.exchanges.values()):
            if exchange.overdue(now):
                self.counters.overdue(answering=exchange.started)
                self.reset(exchange, ErrorCode.CANCEL)
                exchange.lose()
        return True

    # For the exchanges.

    def reset(self, exchange: HTTP2Exchange, code: int) -> None:
        """Send RST_STREAM with `code`; do nothing if the stream is closed."""
        with contextlib.suppress(ngh2.NGH2Error):
            self.engine.reset_stream(exchange.request.stream, code)
            self.host.wake()

    def is_full(self, stream: int) -> bool:
        """Return whether no more of a response may be queued; False if the stream is closed."""
        try:
            return self.engine.queued_body_size(stream) >= limits.buffer_bytes_max
        except ngh2.NGH2Error:
            return False

    def acknowledge(self, stream: int, count: int) -> None:
        """Open the windows of the stream and of the connection by `count` bytes."""
        try:
            self.engine.acknowledge_received_data(count, stream)
            if self.engine.want_write:
                self.host.wake()
        except (ngh2.NGH2Error, ValueError):
            return  # the connection has ended

    def distrust(self, *, hold: bool) -> None:
        """Count a bad token; if `hold`, stop reading; drain after too many bad tokens."""
        if self._usage.distrust(hold=hold):
            self.drain(urgent=False)

    def answered(self, exchange: HTTP2Exchange) -> None:
        """Discard the rest of a body after the response.

        RFC 9113 §8.1 would allow a reset, but httpx 0.28 loses the response to it.
        """
        exchange.take()
        self.host.wake()

    # Events of the engine.

    def _take_events(self) -> bool:
        """Handle the engine's events; return False if there are none."""
        events = self.engine.events()
        for event in events:
            match event:
                case ngh2.RequestReceived():
                    self._request(event)
                case ngh2.StreamClosed():
                    self._closed(event)
                case ngh2.DataReceived():
                    self._data(event)
                case ngh2.TrailersReceived():
                    self._trailers(event)
                case ngh2.ConnectionClosed() if event.error_code != ErrorCode.NO_ERROR:
                    self.counters.broken_off(flood=event.error_code in FLOODS)
        return bool(events)

    def _request(self, event: ngh2.RequestReceived) -> None:
        self._last_active = self.host.now()
        self._usage.requests += 1
        stream = event.stream_id
        try:
            if len(event.headers) > limits.head_fields_max + PSEUDO_FIELDS:
                raise InvalidRequestError(431, "too many fields")  # noqa: TRY301
            request = read(event.headers, stream, not event.end_stream)
        except InvalidRequestError as error:
            self._refuse(event, error.status)
            return
        exchange = self.exchanges[stream] = HTTP2Exchange(request, self)
        exchange.complete = event.end_stream
        self.host.dispatch(exchange)

    def _data(self, event: ngh2.DataReceived) -> None:
        exchange = self.exchanges.get(event.stream_id)
        data = event.data
        if exchange is not None and exchange.is_blocked(len(data)):
            self._too_large(exchange)
        if exchange is None or exchange.done:
            self._discard(event.stream_id, exchange, len(data))
            return
        if data:
            self._control_bytes -= len(data)
            exchange.feed(data)
        if event.end_stream:
            exchange.feed_end()

    def _trailers(self, event: ngh2.TrailersReceived) -> None:
        exchange = self.exchanges.get(event.stream_id)
        if exchange is not None:
            exchange.feed_end(event.headers)

    def _closed(self, event: ngh2.StreamClosed) -> None:
        exchange = self.exchanges.pop(event.stream_id, None)
        self._refused_streams.discard(event.stream_id)
        if event.error_code == _PROTOCOL_ERROR and self._usage.broke_a_stream():
            terminate(self.engine)
        if exchange is None:
            return
        self._last_active = self.host.now()
        self.blocked.discard(exchange)
        if not exchange.done:
            exchange.lose()
        exchange.take()  # unread bytes would stay counted against the connection's window

    def _refuse(self, event: ngh2.RequestReceived, status: int) -> None:
        """Respond to a malformed request without the application."""
        self.counters.refused(status)
        status, problem_fields, body = problems.of_wire(status, event.headers)
        added = [(b"date", self.host.date()), (b"content-length", b"%d" % len(body))]
        fields = [(b":status", b"%d" % status), *problem_fields, *added]
        if (b":method", b"HEAD") in event.headers:
            body = b""
        with contextlib.suppress(ngh2.NGH2Error):
            self.engine.send_response(event.stream_id, fields, end_stream=not body)
            if body:
                self.engine.send_data(event.stream_id, body, end_stream=True)
            if not event.end_stream:
                self._refused_streams.add(event.stream_id)

    def _discard(self, stream: int, exchange: HTTP2Exchange | None, count: int) -> None:
        """Drop bytes of an unwanted body, and reset the stream if there are too many."""
        if count:
            self._control_bytes -= count
            self.acknowledge(stream, count)
        if exchange is not None:
            exchange.discarded += count
            if exchange.discarded > limits.discard_bytes_max:
                self.counters.bodies_unwanted += 1
                self.reset(exchange, ErrorCode.NO_ERROR)
        elif stream in self._refused_streams:
            self._refused_streams.discard(stream)
            with contextlib.suppress(ngh2.NGH2Error):
                self.engine.reset_stream(stream, ErrorCode.NO_ERROR)

    def _too_large(self, exchange: HTTP2Exchange) -> None:
        """Refuse a body that is over its limit, or reset a stream whose response has begun."""
        self.counters.bodies_large += 1
        if exchange.refuse_body():
            return
        if exchange.started:
            self.reset(exchange, ErrorCode.CANCEL)
        else:
            exchange.respond(*problems.of_wire(413, exchange.request.headers))
        exchange.lose()

    def _choke(self) -> None:
        """Stop reading until the queued frames are sent; do nothing if none is queued."""
        self._control_bytes = 0
        if self.engine.want_write:
            if not self._is_choked:
                self.counters.connections_choked += 1
            self._is_choked = True

    def _release_blocked(self) -> None:
        for exchange in list(self.blocked):
            if not self.is_full(exchange.request.stream):
                self.blocked.discard(exchange)
                exchange.wake_writer()

    def _drain_if_idle(self, now: float) -> bool:
        """Drain a connection without a request; return False if it has not closed in time."""
        idle = now - self._last_active
        if idle > limits.idle_seconds_max and not self._shutdown.is_begun:
            self.counters.connections_idle += 1
            self.drain(urgent=False)
        return idle <= limits.idle_seconds_max + limits.drain_notice_seconds

    def _end(self) -> None:
        self.closing = True
        self.lose()
