"""Speaks HTTP/2 with a client through nghttp2, one exchange a stream, with back-pressure both ways.

The native base class reads and writes (crewgate/_datapath/http2_protocol.pyx). A flow-control
window opens when the application has read the bytes (`acknowledge_received_data`).
`Exchange.send` waits while the engine holds too much of the response (`queued_body_size`). The
engine reports a closed stream or a flood by an exception; here these are normal events. This module
knows no sockets and no tasks.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import ngh2
from ngh2 import ErrorCode

from crewgate import limits
from crewgate._datapath.http2_protocol import HTTP2Protocol
from crewgate._native.presenter import Presenter
from crewgate.core import problems
from crewgate.core.http_types import HeaderField
from crewgate.errors import InvalidRequestError
from crewgate.server.http2_settings import PSEUDO_FIELDS, server_engine
from crewgate.server.http2_shutdown import GracefulShutdown
from crewgate.server.http2_stream import HTTP2Exchange
from crewgate.server.listener_counters import ListenerCounters
from crewgate.server.protocol import ConnectionHost
from crewgate.server.request import read


@dataclass(slots=True)
class RefusedStream:
    """An open stream that got a response without an exchange."""

    answered_at: float  # seconds on the clock of the host
    discarded: int = 0  # bytes of its body


class HTTP2(HTTP2Protocol):
    """The HTTP/2 protocol of one client connection; a `WireProtocol`.

    The base class reads, writes and counts. This class serves exchanges, refuses and drains.
    """

    exchanges: dict[int, HTTP2Exchange]
    blocked: set[HTTP2Exchange]

    def __init__(self, host: ConnectionHost, counters: ListenerCounters | None = None) -> None:
        self.engine = server_engine()
        super().__init__(host, self.engine, counters or ListenerCounters())
        self._refused_streams: dict[int, RefusedStream] = {}

    # For the base class.

    def drain(self, *, urgent: bool) -> None:
        """Close when no stream is open; see `GracefulShutdown` for the steps."""
        if not self.closing:
            self.shutdown = self.shutdown or GracefulShutdown(self.engine)
            self.shutdown.begin(self.host.now(), urgent=urgent)
            self.host.wake()  # an idle connection sends its GOAWAY from `sent_all`

    def sweep_exchanges(self, now: float) -> None:
        """End the exchanges and the refused streams that are overdue."""
        self._end_refused(now)
        for exchange in list(self.exchanges.values()):
            if exchange.overdue(now):
                self.counters.overdue(answering=exchange.started)
                self.reset(exchange, ErrorCode.CANCEL)
                exchange.lose()

    def drain_if_idle(self, idle: float) -> bool:
        """Drain a connection without a request; return False if it has not closed in time."""
        self._end_refused(self.host.now())
        if idle > limits.idle_seconds_max and self.shutdown is None:
            self.counters.connections_idle += 1
            self.drain(urgent=False)
        return idle <= limits.idle_seconds_max + limits.drain_notice_seconds

    def request_received(
        self,
        stream: int,
        fields: Sequence[HeaderField],
        ends: bool,  # noqa: FBT001
        presenter: Presenter | None = None,
        request_id: bytes | None = None,
    ) -> None:
        """Serve a request, or refuse a malformed one; the last two are for its exchange."""
        exchange = self.new_exchange(stream, fields, ends)
        if exchange is not None:
            exchange.presenter, exchange.request_id = presenter, request_id
            self.host.dispatch(exchange)

    def new_exchange(
        self,
        stream: int,
        fields: Sequence[HeaderField],
        ends: bool,  # noqa: FBT001
    ) -> HTTP2Exchange | None:
        """Return the exchange of a request; None if it was malformed, and refused."""
        try:
            if len(fields) > limits.head_fields_max + PSEUDO_FIELDS:
                raise InvalidRequestError(431, "too many fields")  # noqa: TRY301
            request = read(fields, stream, not ends)
        except InvalidRequestError as error:
            self._refuse(stream, fields, error.status)
            return None
        exchange = self.exchanges[stream] = HTTP2Exchange(request, self)
        exchange.complete = ends
        return exchange

    def data_received(self, stream: int, data: bytes, ends: bool) -> None:  # noqa: FBT001
        """Feed a piece of a body to its exchange."""
        exchange = self.exchanges.get(stream)
        if exchange is not None and exchange.is_blocked(len(data)):
            self._too_large(exchange)
        if exchange is None or exchange.done:
            self._discard(stream, exchange, len(data))
            return
        if data:
            exchange.feed(data)
        if ends:
            exchange.feed_end()

    def trailers_received(self, stream: int, fields: Sequence[HeaderField]) -> None:
        """End a body with its trailers."""
        exchange = self.exchanges.get(stream)
        if exchange is not None:
            exchange.feed_end(fields)

    def stream_closed(self, stream: int) -> None:
        """Forget an exchange, and tell it if its response was not finished."""
        exchange = self.exchanges.pop(stream, None)
        self._refused_streams.pop(stream, None)
        if exchange is None:
            return
        self.blocked.discard(exchange)
        if not exchange.done:
            exchange.lose()
        exchange.take()  # unread bytes would stay counted against the connection's window

    def release_blocked(self) -> None:
        """Let the exchanges go on that wait, if less of their response is queued."""
        for exchange in list(self.blocked):
            if not self.is_full(exchange.request.stream):
                self.blocked.discard(exchange)
                exchange.wake_writer()

    # For the exchanges.

    def reset(self, exchange: HTTP2Exchange, code: int) -> None:
        """Send RST_STREAM with `code`; do nothing if the stream is closed."""
        self._reset(exchange.request.stream, code)

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
        if self.usage.distrust(hold=hold):
            self.drain(urgent=False)

    def answered(self, exchange: HTTP2Exchange) -> None:
        """Discard the rest of a body after the response.

        RFC 9113 §8.1 would allow a reset, but httpx 0.28 loses the response to it.
        """
        exchange.take()
        self.host.wake()

    # Refusals.

    def _refuse(self, stream: int, request_fields: Sequence[HeaderField], status: int) -> None:
        """Respond to a malformed request without the application."""
        self.counters.refused(status)
        status, problem_fields, body = problems.of_wire(status, request_fields)
        added = [(b"date", self.host.date()), (b"content-length", b"%d" % len(body))]
        fields = [(b":status", b"%d" % status), *problem_fields, *added]
        if (b":method", b"HEAD") in request_fields:
            body = b""
        with contextlib.suppress(ngh2.NGH2Error):
            self.engine.send_response(stream, fields, end_stream=not body)
            if body:
                self.engine.send_data(stream, body, end_stream=True)
            self._refused_streams[stream] = RefusedStream(self.host.now())

    def _end_refused(self, now: float) -> None:
        """Reset the refused streams whose client reads no response, or goes on sending."""
        for stream, refused in list(self._refused_streams.items()):
            if now - refused.answered_at > limits.send_wait_seconds_max:
                self.counters.overdue(answering=True)
                self._reset_refused(stream, ErrorCode.CANCEL)

    def _reset_refused(self, stream: int, code: int) -> None:
        del self._refused_streams[stream]
        self._reset(stream, code)

    def _reset(self, stream: int, code: int) -> None:
        with contextlib.suppress(ngh2.NGH2Error):
            self.engine.reset_stream(stream, code)
            self.host.wake()

    def _discard(self, stream: int, exchange: HTTP2Exchange | None, count: int) -> None:
        """Drop bytes of an unwanted body, and reset the stream if there are too many."""
        if count:
            self.acknowledge(stream, count)
        if exchange is not None:
            exchange.discarded += count
            if exchange.discarded > limits.discard_bytes_max:
                self.counters.bodies_unwanted += 1
                self.reset(exchange, ErrorCode.NO_ERROR)
        elif stream in self._refused_streams:
            refused = self._refused_streams[stream]
            refused.discarded += count
            # An earlier reset would drop the response, if it is still queued.
            if refused.discarded > limits.discard_bytes_max:
                self._reset_refused(stream, ErrorCode.NO_ERROR)

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
