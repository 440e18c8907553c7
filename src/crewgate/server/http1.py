"""Speaks HTTP/1.1 with a client through httptools (llhttp), one exchange at a time.

The protocol refuses every message that two parsers could frame in two ways (RFC 9112 §11.2): llhttp
is strict, and `chunked` is the only transfer coding. A request that asks for another protocol is
the last one of its connection; the application refuses it. Pipelined requests wait in their order,
and nothing is read while one of them waits. While the client leaves too much of the responses
unread, no further request is read or begun. This module knows no sockets and no tasks.
"""

from collections import deque

import httptools

from crewgate import limits
from crewgate._datapath.connection_usage_limit import ConnectionUsageLimit
from crewgate._native.fields import written
from crewgate.core import problems
from crewgate.core.http_types import HeaderField
from crewgate.errors import InvalidRequestError
from crewgate.server.http1_exchange import PHRASES, HTTP1Exchange
from crewgate.server.http1_request import is_other_protocol, read_head, refusal_of
from crewgate.server.listener_counters import ListenerCounters
from crewgate.server.protocol import ConnectionHost


class HTTP1:
    """The HTTP/1.1 protocol of one client connection; a `WireProtocol`.

    `current` is the exchange whose response is due, `out` what the socket has not taken yet.
    """

    def __init__(self, host: ConnectionHost, counters: ListenerCounters | None = None) -> None:
        self.host = host
        self.counters = counters or ListenerCounters()
        self.closing = False
        self.keep_alive = True
        self.current: HTTP1Exchange | None = None
        self.out = bytearray()
        self._usage = ConnectionUsageLimit(self.counters)
        self._parser = httptools.HttpRequestParser(self)
        self._arriving: HTTP1Exchange | None = None  # its body is being read
        self._waiting: deque[HTTP1Exchange] = deque()
        self._target = b""
        self._fields: list[HeaderField] = []
        self._trailers: list[HeaderField] = []
        self._field_bytes = 0
        # Bytes since the last head that are not of a body: fields, chunk framing.
        self._overhead_bytes = 0
        self._head_since = 0.0
        self._head_reads: list[bytes] = []  # the reads that hold the head being parsed
        self._is_parsing_head = False
        self._discarded_bytes = 0
        self._last_active = host.now()
        self._refusal: InvalidRequestError | None = None
        self._advancing = False
        self._is_retiring = False  # the next request is the last
        self._is_upgraded = False  # the bytes that follow are of another protocol

    # `WireProtocol`, for the connection.

    @property
    def requests(self) -> int:
        """How many requests have arrived."""
        return self._usage.requests

    @property
    def paused(self) -> bool:
        """Whether nothing is to be read now."""
        if self._waiting or self.closing or self._usage.held:
            return True
        if self.current is None:
            return len(self.out) >= limits.buffer_bytes_max
        return self.current.buffered >= limits.buffer_bytes_max

    @property
    def has_output(self) -> bool:
        """Whether there are bytes to send, or the connection is to be closed."""
        return bool(self.out) or self.closing

    def receive(self, data: bytes) -> bool:
        """Parse bytes from the client; return True while a body arrives."""
        if (self._is_upgraded or not self.keep_alive) and self._arriving is None:
            return False  # bytes after the last request are ignored
        self._usage.octets += len(data)
        self._overhead_bytes += len(data)
        if self._arriving is None:
            self._head_since = self._head_since or self.host.now()
        self._head_reads.append(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._is_upgraded = True
        except httptools.HttpParserError as error:
            self._break(self._refusal or refusal_of(error))
        else:
            if self._overhead_bytes > limits.head_bytes_max:
                status = 431 if self._arriving is None else 400
                self._break(InvalidRequestError(status, "a head or a body's framing is too large"))
        if not self._is_parsing_head:
            self._head_reads.clear()
        self._advance()
        return self._arriving is not None

    def bytes_to_send(self) -> bytes:
        """Return the next bytes for the client, at most `limits.send_bytes`."""
        was_full = len(self.out) >= limits.buffer_bytes_max
        data = bytes(memoryview(self.out)[: limits.send_bytes])
        del self.out[: limits.send_bytes]
        self._usage.octets += len(data)
        if len(self.out) < limits.buffer_bytes_max:
            if self.current is not None:
                self.current.wake_writer()
            if was_full:
                self._advance()
                self.consumed()
        return data

    def sent_all(self) -> bool:
        """Return False: HTTP/1.1 sends nothing more by itself."""
        return False

    def lose(self) -> None:
        """End the current exchange, because the client has disconnected."""
        exchange, self.current = self.current, None
        self._waiting.clear()
        self._arriving = None
        if exchange is not None:
            exchange.lose()

    def drain(self, *, urgent: bool) -> None:
        """Close after the response under way, or at once if idle; else after the next request.

        A drain that is not `urgent` lets the client send one more request.
        """
        self._is_retiring = True
        if not urgent:
            return
        self.keep_alive = False
        if self.current is None:
            self.closing = True
            self.host.wake()

    def sweep(self, now: float) -> bool:
        """End what is overdue or idle; return False if the connection must be aborted."""
        if self._usage.let_go():
            self.host.resume()
        if self._usage.is_used_up():
            self.drain(urgent=False)
        current, counters = self.current, self.counters
        if current is not None and current.done:  # the rest of its body is being discarded
            is_late = now - self._last_active > limits.body_wait_seconds_max
            if is_late:
                counters.bodies_unwanted += 1
            return not is_late
        if current is not None:
            self._last_active = now
            if current.overdue(now):
                counters.overdue(answering=current.started)
                self._end(None if current.started else 408)
        elif self._head_since and now - self._head_since > limits.head_seconds_max:
            counters.heads_slow += 1
            self._end(408)
        elif now - self._last_active > limits.idle_seconds_max and not self.closing:
            counters.connections_idle += 1
            self.drain(urgent=True)
        return True

    # For the exchange.

    def finished(self, exchange: HTTP1Exchange) -> None:
        """Go on with the next request, or close, after a complete response."""
        exchange.take()
        self._last_active = self.host.now()
        if exchange.complete and self.keep_alive:
            self.current = None
            self.host.resume()
            self._advance()
        elif not self.keep_alive:
            self.current = None
            self.closing = True
        self.host.wake()

    def abandon(self) -> None:
        """Close without ending the response, so that the client sees that it is incomplete."""
        self.closing = True
        self.lose()
        self.host.wake()

    def distrust(self, *, hold: bool) -> None:
        """Count a bad token; if `hold`, stop reading; drain after too many bad tokens."""
        if self._usage.distrust(hold=hold):
            self.drain(urgent=True)

    def consumed(self) -> None:
        """Read on if a body was read or output was sent, so that more may follow."""
        if not self.paused:
            self.host.resume()

    # Callbacks of the parser. `feed_data` replaces an exception of theirs by a HttpParserError, so
    # `_refusal` keeps the reason.

    def on_message_begin(self) -> None:
        """Start to collect a head."""
        self._is_parsing_head = True
        del self._head_reads[:-1]
        self._target = b""
        self._fields = []
        self._trailers = []
        self._field_bytes = 0

    def on_url(self, url: bytes) -> None:
        """Collect a piece of the request target."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a field of the head or of the trailers."""
        fields = self._fields if self._arriving is None else self._trailers
        # llhttp keeps blanks after a value (RFC 9112 §5). HTTP/2 servers reset a stream that has
        # them.
        fields.append((name.lower(), value.rstrip(b" \t")))
        self._field_bytes += len(name) + len(value)
        if len(fields) > limits.head_fields_max or self._field_bytes > limits.head_bytes_max:
            self._refuse(InvalidRequestError(431, "too many fields, or fields that are too long"))

    def on_headers_complete(self) -> None:
        """Check the head, and queue an exchange for it."""
        self._overhead_bytes, self._head_since, self._is_parsing_head = 0, 0.0, False
        if len(self._waiting) >= limits.pipelined_requests_max:
            self._refuse(InvalidRequestError(429, "too many pipelined requests"))
        parser = self._parser
        method, version = parser.get_method(), parser.get_http_version()
        if is_other_protocol(method, self._target, version, b"".join(self._head_reads)):
            self._refuse(InvalidRequestError(505, "the request line does not name HTTP"))
        try:
            request = read_head(
                method,
                self._target,
                self._fields,
                version=version,
            )
        except InvalidRequestError as refusal:
            self._refuse(refusal)
            return
        exchange = HTTP1Exchange(request, self)
        exchange.upgrades = parser.should_upgrade()
        exchange.last = exchange.upgrades or not parser.should_keep_alive()
        self._arriving = exchange
        self._waiting.append(exchange)

    def on_body(self, data: bytes) -> None:
        """Feed a piece of the body; each piece also allows for some bytes of framing."""
        allowed = len(data) * (1 + limits.chunk_overhead_ratio) + limits.chunk_overhead_bytes
        self._overhead_bytes = max(0, self._overhead_bytes - allowed)
        exchange = self._arriving
        if exchange is None:
            return
        if exchange.is_blocked(len(data)):
            if not exchange.refuse_body():
                self._refuse(InvalidRequestError(413, "the body is too large"))
            self.counters.refused(413)
        if not exchange.done:
            exchange.feed(data)
            return
        self._discarded_bytes += len(data)
        if self._discarded_bytes > limits.discard_bytes_max:
            self.counters.bodies_unwanted += 1
            self.abandon()

    def on_message_complete(self) -> None:
        """Mark the request as complete."""
        exchange, self._arriving = self._arriving, None
        self._discarded_bytes = 0
        if exchange is None:
            return
        exchange.feed_end(self._trailers)
        if exchange is self.current and exchange.done:
            self.finished(exchange)

    def _refuse(self, refusal: InvalidRequestError) -> None:
        self._refusal = refusal
        raise refusal

    def _advance(self) -> None:
        """Dispatch the next waiting request, if none is under way.

        A request that the application answers inline calls this method again, through `finished`.
        The inner call returns at once and the loop goes on: a pipeline may be longer than the stack
        is deep.
        """
        if self._advancing:
            return
        self._advancing = True
        while self._is_free():
            self.current = self._waiting.popleft()
            self._usage.requests += 1
            if self.current.last or self._is_retiring:
                self.keep_alive = False
            self.host.dispatch(self.current)
        self._advancing = False

    def _is_free(self) -> bool:
        if self.current is not None or self.closing or not self._waiting:
            return False
        return len(self.out) < limits.buffer_bytes_max

    def _break(self, refusal: InvalidRequestError) -> None:
        """Respond with an error to bytes that cannot be parsed, and close.

        If an earlier request of the pipeline is under way, its response comes first, and the
        connection closes after that.
        """
        self.counters.refused(refusal.status)
        self.keep_alive = False
        broken, self._arriving = self._arriving, None
        current = self.current
        if broken is not None and broken in self._waiting:
            self._waiting.remove(broken)
        if current is None:
            if not self._waiting:
                self._end(refusal.status)
        elif current is broken:
            self._end(None if current.started else refusal.status)

    def _end(self, status: int | None) -> None:
        """Close, after a response with `status` unless that is None."""
        if status is not None:
            request = None if self.current is None else self.current.request
            headers = () if request is None else request.headers
            status, fields, body = problems.of_wire(status, headers)
            added = [(b"date", self.host.date()), (b"content-length", b"%d" % len(body))]
            self.out += b"HTTP/1.1 %d %b\r\n" % (status, PHRASES.get(status, b""))
            self.out += written([*fields, *added, (b"connection", b"close")]) + b"\r\n"
            if request is None or request.method != b"HEAD":
                self.out += body
        self.abandon()
