"""HTTP/2 over ngh2: frames to exchanges and back, with real back-pressure both ways.

Refuses to know sockets and tasks. A window opens when the application has read what came
(`acknowledge_received_data`), and `send` waits while ngh2 holds too much (`queued_body_size`). The
states that ngh2 reports as exceptions (a stream that is gone, a connection that is over, a flood)
are normal events here and end in a reset, a GOAWAY or nothing.
"""

import contextlib

import ngh2
from ngh2 import Configuration, Connection, ErrorCode, Role, Setting

from crewgate import limits
from crewgate.errors import RequestRefusedError
from crewgate.server.http2_stream import HTTP2Exchange, read_head
from crewgate.server.protocol import Host

# Floods are nghttp2's to count: resets (CVE-2023-44487), continuations (CVE-2024-28182),
# acknowledgements that nobody reads (CVE-2019-9512).
_CONFIGURATION = Configuration(
    auto_window_update=False,
    max_inbound_header_list_size=limits.head_bytes_max,
    max_inbound_header_count=limits.head_fields_max + 5,  # the pseudo fields
)
_SETTINGS = {
    Setting.MAX_CONCURRENT_STREAMS: limits.streams_max,
    Setting.INITIAL_WINDOW_SIZE: limits.stream_window_bytes,
    Setting.MAX_HEADER_LIST_SIZE: limits.head_bytes_max,
    Setting.NO_RFC7540_PRIORITIES: 1,
}


class HTTP2:
    """One HTTP/2 connection of a client."""

    paused = False  # windows hold the client back; settings and resets must always get through

    def __init__(self, host: Host) -> None:
        self.host = host
        self.closing = False
        self.engine = Connection(Role.SERVER, _CONFIGURATION)
        self.engine.initiate_connection(_SETTINGS)
        self.engine.set_local_window_size(limits.connection_window_bytes)
        self.exchanges: dict[int, HTTP2Exchange] = {}
        self.blocked: set[HTTP2Exchange] = set()
        self._refused: set[int] = set()  # streams answered without an exchange, still open
        self._draining = False
        self._announce_at = 0.0
        self._announced = False
        self._said_goodbye = False
        self._active = host.now()

    # The connection's side.

    def receive(self, data: bytes) -> None:
        """Take bytes from the client."""
        try:
            self.engine.receive_data(data)
        except ngh2.NGH2Error:
            self._end()
            return
        self._take_events()
        if self._is_over():
            self._end()

    def bytes_to_send(self) -> bytes:
        """Return the next bytes for the client."""
        try:
            data = self.engine.data_to_send(limits.send_bytes)
        except ngh2.NGH2Error:
            self._end()
            return b""
        if self.blocked:
            self._release_blocked()
        self._take_events()  # the ends of streams whose last frame has just been made
        return data

    def sent_all(self) -> bool:
        """Close once a drain or a GOAWAY has nothing left to do; True if there is more to send."""
        if self._draining and not self.exchanges and not self.closing:
            self.closing = self._said_goodbye
            self._say_goodbye()
            return not self.closing
        if self._is_over():
            self._end()
        return False

    def lose(self) -> None:
        """Cancel whoever works for this client."""
        exchanges, self.exchanges = self.exchanges, {}
        self.blocked.clear()
        for exchange in exchanges.values():
            exchange.lose()

    def drain(self) -> None:
        """End when idle; the sweeper announces it to a client that is not idle for long.

        Not announced at once, because clients in the field (httpx 0.28) give up the streams they
        have when they hear a GOAWAY.
        """
        if self.closing or self._draining:
            return
        self._draining = True
        self._announce_at = self.host.now() + limits.drain_notice_seconds
        if not self.exchanges:
            self._say_goodbye()

    def sweep(self, now: float) -> bool:
        """Reset streams whose client owes us something; False for an idle connection."""
        if self._draining and not self.closing and now >= self._announce_at:
            self._announce()
        if not self.exchanges:
            return now - self._active <= limits.idle_seconds_max
        self._active = now
        for exchange in list(self.exchanges.values()):
            if exchange.overdue(now):
                self.reset(exchange, ErrorCode.CANCEL)
                exchange.lose()
        return True

    # The exchanges' side.

    def reset(self, exchange: HTTP2Exchange, code: int) -> None:
        """Send RST_STREAM; nothing if the stream is gone."""
        try:
            self.engine.reset_stream(exchange.request.stream, code)
        except ngh2.NGH2Error:
            return
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

    def answered(self, exchange: HTTP2Exchange) -> None:
        """Note that an answer is complete; a body that still arrives has lost its reader.

        It is discarded up to a bound: clients in the field (httpx 0.28) take the reset that
        RFC 9113 §8.1 suggests for a failure and lose the answer.
        """
        exchange.take()
        self.host.wake()

    # Events.

    def _take_events(self) -> None:
        for event in self.engine.events():
            match event:
                case ngh2.RequestReceived():
                    self._request(event)
                case ngh2.DataReceived():
                    self._data(event)
                case ngh2.StreamClosed():
                    self._closed(event)
                case ngh2.TrailersReceived():
                    self._trailers(event)
                case _:
                    pass  # settings, pings and windows are the engine's business

    def _request(self, event: ngh2.RequestReceived) -> None:
        self._active = self.host.now()
        stream = event.stream_id
        try:
            request = read_head(event)
        except RequestRefusedError as error:
            self._refuse(stream, error.status, ended=event.end_stream)
            return
        exchange = HTTP2Exchange(request, self)
        self.exchanges[stream] = exchange
        if event.end_stream:
            exchange.complete = True
        self.host.dispatch(exchange)

    def _data(self, event: ngh2.DataReceived) -> None:
        exchange = self.exchanges.get(event.stream_id)
        data = event.data
        if exchange is None or exchange.done:
            self._discard(event.stream_id, exchange, len(data))
            return
        if data:
            exchange.feed(data)
            if exchange.bytes_in > limits.request_body_bytes_max:
                self._too_large(exchange)
                return
        if event.end_stream:
            exchange.feed_end()

    def _trailers(self, event: ngh2.TrailersReceived) -> None:
        exchange = self.exchanges.get(event.stream_id)
        if exchange is not None:
            exchange.feed_end(event.headers)

    def _closed(self, event: ngh2.StreamClosed) -> None:
        exchange = self.exchanges.pop(event.stream_id, None)
        self._refused.discard(event.stream_id)
        if exchange is None:
            return
        self._active = self.host.now()
        self.blocked.discard(exchange)
        if not exchange.done:
            exchange.lose()
        exchange.take()  # its bytes count against the connection's window until they are taken

    # Inside.

    def _refuse(self, stream: int, status: int, *, ended: bool) -> None:
        """Answer a malformed request without the application."""
        fields = [(b":status", b"%d" % status), (b"content-length", b"0")]
        try:
            self.engine.send_response(stream, fields, end_stream=True)
        except ngh2.NGH2Error:
            return
        if not ended:
            self._refused.add(stream)

    def _discard(self, stream: int, exchange: HTTP2Exchange | None, count: int) -> None:
        """Drop bytes of a body that nobody reads, and end the stream if there are too many."""
        if count:
            self.acknowledge(stream, count)
        if exchange is not None:
            exchange.discarded += count
            if exchange.discarded > limits.discard_bytes_max:
                self.reset(exchange, ErrorCode.NO_ERROR)
        elif stream in self._refused:
            self._refused.discard(stream)
            with contextlib.suppress(ngh2.NGH2Error):
                self.engine.reset_stream(stream, ErrorCode.NO_ERROR)

    def _too_large(self, exchange: HTTP2Exchange) -> None:
        if exchange.started:
            self.reset(exchange, ErrorCode.CANCEL)
        else:
            exchange.respond(413, ())
        exchange.lose()

    def _release_blocked(self) -> None:
        for exchange in list(self.blocked):
            if not self.is_full(exchange.request.stream):
                self.blocked.discard(exchange)
                exchange.wake_writer()

    def _announce(self) -> None:
        """Send the notice of RFC 9113 §6.8; a sweep later, the GOAWAY that names a stream."""
        if self._announced:
            self._say_goodbye()
            return
        self._announced = True
        with contextlib.suppress(ngh2.NGH2Error):
            self.engine.send_shutdown_notice()
        self.host.wake()

    def _say_goodbye(self) -> None:
        """Send the GOAWAY that names the last stream that is served."""
        if self._said_goodbye:
            return
        self._said_goodbye = True
        try:
            self.engine.send_goaway(ErrorCode.NO_ERROR)
        except ngh2.NGH2Error:
            self._end()
        self.host.wake()

    def _is_over(self) -> bool:
        try:
            return not (self.engine.want_read or self.engine.want_write)
        except ngh2.NGH2Error:  # it is no longer usable, after an error or a GOAWAY of ours
            return True

    def _end(self) -> None:
        self.closing = True
        self.lose()
