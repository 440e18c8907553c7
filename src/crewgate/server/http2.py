"""HTTP/2 over ngh2: frames to exchanges and back, with real back-pressure both ways.

Refuses to know sockets and tasks. A window opens when the application has read what came
(`acknowledge_received_data`), and `send` waits while ngh2 holds too much (`queued_body_size`). What
ngh2 reports as exceptions (a stream that is gone, a flood) are normal events here.
"""

import contextlib

import ngh2
from ngh2 import ErrorCode

from crewgate import limits
from crewgate.core import problems
from crewgate.errors import RequestRefusedError
from crewgate.server.connection_usage import ConnectionUsage
from crewgate.server.counters import Counters
from crewgate.server.http2_settings import FLOODS, PSEUDO_FIELDS, is_over, server_engine, terminate
from crewgate.server.http2_shutdown import GracefulShutdown
from crewgate.server.http2_stream import HTTP2Exchange
from crewgate.server.protocol import ConnectionHost
from crewgate.server.request import read

_PROTOCOL_ERROR = int(ErrorCode.PROTOCOL_ERROR)


class HTTP2:
    """One HTTP/2 connection of a client."""

    def __init__(self, host: ConnectionHost, counters: Counters | None = None) -> None:
        self.host = host
        self.counters = counters or Counters()
        self.closing = False
        self.engine = server_engine()
        self.exchanges: dict[int, HTTP2Exchange] = {}
        self.blocked: set[HTTP2Exchange] = set()
        self._allowance = ConnectionUsage(self.counters)
        self._farewell = GracefulShutdown(self.engine)
        self._refused: set[int] = set()  # streams answered without an exchange, still open
        self._control_bytes = 0  # read beside payload since all was sent, or bytes were asked for
        self._choked = False
        self._active = host.now()

    # The connection's side.

    @property
    def paused(self) -> bool:
        """Whether nothing is to be read for now.

        Windows hold a body's sender back; who leaves our frames unread and sends on is not read.
        """
        return self.closing or self._choked or self._allowance.held

    @property
    def has_output(self) -> bool:
        """Whether there is something to send, or the connection is to be closed."""
        try:
            return self.closing or self.engine.want_write
        except ngh2.NGH2Error:  # it is no longer usable
            return True

    def receive(self, data: bytes) -> bool:
        """Take bytes from the client; True if most of them were of bodies."""
        self._allowance.octets += len(data)
        self._control_bytes += len(data)
        half = self._control_bytes - len(data) // 2
        try:
            self.engine.receive_data(data)
        except ngh2.NGH2Error as error:
            self.counters.broken_off(flood=isinstance(error, ngh2.DenialOfServiceError))
            self._end()
            return False
        if self._take_events():
            self._allowance.partial_since = 0.0
        elif self._allowance.drips(self.host.now()):
            terminate(self.engine)
        is_body = self._control_bytes < half
        if is_over(self.engine):
            self._end()
        elif not self.engine.want_write:
            self._control_bytes = 0  # nothing came of them that is to be read
        elif self._control_bytes > limits.control_bytes_max:
            self._choke()
        return is_body

    def bytes_to_send(self) -> bytes:
        """Return the next bytes for the client, who has taken all before."""
        self._control_bytes = 0
        if self._choked:
            self._choked = False
            self.host.resume()
        try:
            data = self.engine.data_to_send(limits.send_bytes)
        except ngh2.NGH2Error:
            self._end()
            return b""
        self._allowance.octets += len(data)
        if self.blocked:
            self._release_blocked()
        self._take_events()  # the ends of streams whose last frame has just been made
        return data

    def sent_all(self) -> bool:
        """Close once a drain or a GOAWAY has nothing left to do; True if there is more to send."""
        if self._farewell.is_begun and not self.exchanges and not self.closing:
            self.closing = self._farewell.idle(self.host.now())
        if is_over(self.engine):
            self._end()
        return not self.closing and self.engine.want_write

    def lose(self) -> None:
        """Cancel whoever works for this client."""
        exchanges, self.exchanges = self.exchanges, {}
        self.blocked.clear()
        for exchange in exchanges.values():
            exchange.lose()

    def drain(self, *, urgent: bool) -> None:
        """End in a moment without streams; the sweeper announces it if there is none for long."""
        if not self.closing:
            self._farewell.begin(self.host.now(), urgent=urgent)
            self.host.wake()  # when all is sent, an idle connection says it

    def sweep(self, now: float) -> bool:
        """Reset streams whose client owes us something, end what is idle; False if that fails."""
        if self._allowance.let_go():
            self.host.resume()
        if self._allowance.is_used_up():
            self.drain(urgent=False)
        if not self.closing and self._farewell.advance(now):
            self.host.wake()
        if not self.exchanges:
            return self._is_wanted(now)
        self._active = now
        for exchange in list(self.exchanges.values()):
            if exchange.overdue(now):
                self.counters.overdue(answering=exchange.started)
                self.reset(exchange, ErrorCode.CANCEL)
                exchange.lose()
        return True

    # The exchanges' side.

    def reset(self, exchange: HTTP2Exchange, code: int) -> None:
        """Send RST_STREAM; nothing if the stream is gone."""
        with contextlib.suppress(ngh2.NGH2Error):
            self.engine.reset_stream(exchange.request.stream, code)
            self.host.wake()

    def is_full(self, stream: int) -> bool:
        """Return whether no more of an answer may be queued; False for a stream that is gone."""
        try:
            return self.engine.queued_body_size(stream) >= limits.buffer_bytes_max
        except ngh2.NGH2Error:
            return False

    def acknowledge(self, stream: int, count: int) -> None:
        """Open the windows by `count` bytes."""
        try:
            self.engine.acknowledge_received_data(count, stream)
            if self.engine.want_write:
                self.host.wake()
        except (ngh2.NGH2Error, ValueError):
            return  # the connection is over

    def distrust(self, *, hold: bool) -> None:
        """Count a bad token; drain a connection that has shown too many, and hold it if told so."""
        if self._allowance.distrust(hold=hold):
            self.drain(urgent=False)

    def answered(self, exchange: HTTP2Exchange) -> None:
        """Discard the rest of a body: to the reset of RFC 9113 §8.1 httpx 0.28 loses the answer."""
        exchange.take()
        self.host.wake()

    # Events.

    def _take_events(self) -> bool:
        """Act on what the engine has found whole; False if that is nothing."""
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
        self._active = self.host.now()
        self._allowance.requests += 1
        stream = event.stream_id
        try:
            if len(event.headers) > limits.head_fields_max + PSEUDO_FIELDS:
                raise RequestRefusedError(431, "too many fields")  # noqa: TRY301
            request = read(event.headers, stream, not event.end_stream)
        except RequestRefusedError as error:
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
        self._refused.discard(event.stream_id)
        if event.error_code == _PROTOCOL_ERROR and self._allowance.broke_a_stream():
            terminate(self.engine)
        if exchange is None:
            return
        self._active = self.host.now()
        self.blocked.discard(exchange)
        if not exchange.done:
            exchange.lose()
        exchange.take()  # its bytes count against the connection's window until they are taken

    def _refuse(self, event: ngh2.RequestReceived, status: int) -> None:
        """Answer a malformed request without the application."""
        self.counters.refused(status)
        status, said, body = problems.of_wire(status, event.headers)
        own = [(b"date", self.host.date()), (b"content-length", b"%d" % len(body))]
        fields = [(b":status", b"%d" % status), *said, *own]
        if (b":method", b"HEAD") in event.headers:
            body = b""
        with contextlib.suppress(ngh2.NGH2Error):
            self.engine.send_response(event.stream_id, fields, end_stream=not body)
            if body:
                self.engine.send_data(event.stream_id, body, end_stream=True)
            if not event.end_stream:
                self._refused.add(event.stream_id)

    def _discard(self, stream: int, exchange: HTTP2Exchange | None, count: int) -> None:
        """Drop bytes of a body that nobody reads, and end the stream if there are too many."""
        if count:
            self._control_bytes -= count
            self.acknowledge(stream, count)
        if exchange is not None:
            exchange.discarded += count
            if exchange.discarded > limits.discard_bytes_max:
                self.counters.bodies_unwanted += 1
                self.reset(exchange, ErrorCode.NO_ERROR)
        elif stream in self._refused:
            self._refused.discard(stream)
            with contextlib.suppress(ngh2.NGH2Error):
                self.engine.reset_stream(stream, ErrorCode.NO_ERROR)

    def _too_large(self, exchange: HTTP2Exchange) -> None:
        self.counters.bodies_large += 1
        if exchange.refuse_body():
            return
        if exchange.started:
            self.reset(exchange, ErrorCode.CANCEL)
        else:
            exchange.respond(*problems.of_wire(413, exchange.request.headers))
        exchange.lose()

    def _choke(self) -> None:
        """Read no more until our frames have gone out; if there are none, nothing is unread."""
        self._control_bytes = 0
        if self.engine.want_write:
            self.counters.connections_choked += not self._choked
            self._choked = True

    def _release_blocked(self) -> None:
        for exchange in list(self.blocked):
            if not self.is_full(exchange.request.stream):
                self.blocked.discard(exchange)
                exchange.wake_writer()

    def _is_wanted(self, now: float) -> bool:
        """Say goodbye to a client without a request; False if it has not left by then."""
        idle = now - self._active
        if idle > limits.idle_seconds_max and not self._farewell.is_begun:
            self.counters.connections_idle += 1
            self.drain(urgent=False)
        return idle <= limits.idle_seconds_max + limits.drain_notice_seconds

    def _end(self) -> None:
        self.closing = True
        self.lose()
