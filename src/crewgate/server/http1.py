"""HTTP/1.1 over httptools: messages to exchanges and back, one exchange at a time.

Refuses to know sockets and tasks, and whatever two parsers could frame in two ways (RFC 9112
§11.2): llhttp's strictness, no transfer coding but `chunked`. A request for another protocol is the
last one of its connection, and left to the application to refuse. Further requests of a
pipeline wait in the order they came, and nothing is read or answered while one of them waits or the
client leaves its answers unread.
"""

from collections import deque

import httptools

from crewgate import limits
from crewgate._native.fields import written
from crewgate.core import problems
from crewgate.core.http import HeaderField
from crewgate.errors import RequestRefusedError
from crewgate.server.connection_usage import ConnectionUsage
from crewgate.server.counters import Counters
from crewgate.server.http1_exchange import PHRASES, HTTP1Exchange
from crewgate.server.http1_request import is_other_protocol, read_head, refusal_of
from crewgate.server.protocol import ConnectionHost


class HTTP1:
    """One HTTP/1.1 connection of a client."""

    def __init__(self, host: ConnectionHost, counters: Counters | None = None) -> None:
        self.host = host
        self.counters = counters or Counters()
        self.closing = False
        self.keep_alive = True
        self.current: HTTP1Exchange | None = None
        self.out = bytearray()
        self._allowance = ConnectionUsage(self.counters)
        self._parser = httptools.HttpRequestParser(self)
        self._arriving: HTTP1Exchange | None = None  # whose body is being read
        self._waiting: deque[HTTP1Exchange] = deque()
        self._target = b""
        self._fields: list[HeaderField] = []
        self._trailers: list[HeaderField] = []
        self._field_bytes = 0
        self._overhead_bytes = 0  # read beside bodies since the last head: fields, chunk extensions
        self._head_since = 0.0
        self._head_reads: list[bytes] = []  # with the head that is being read in them
        self._is_in_head = False
        self._discarded = 0
        self._active = host.now()
        self._refusal: RequestRefusedError | None = None
        self._advancing = False
        self._is_retiring = False  # the next request is the last
        self._is_upgraded = False  # what follows is of another protocol, to the client

    # The connection's side.

    @property
    def paused(self) -> bool:
        """Whether enough has been read for now."""
        if self._waiting or self.closing or self._allowance.held:
            return True
        if self.current is None:
            return len(self.out) >= limits.buffer_bytes_max
        return self.current.buffered >= limits.buffer_bytes_max

    @property
    def has_output(self) -> bool:
        """Whether there is something to send, or the connection is to be closed."""
        return bool(self.out) or self.closing

    def receive(self, data: bytes) -> bool:
        """Take bytes from the client; True while a body arrives."""
        if (self._is_upgraded or not self.keep_alive) and self._arriving is None:
            return False  # what follows a last request is nobody's
        self._allowance.octets += len(data)
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
                self._break(RequestRefusedError(status, "a head or a body's framing is too large"))
        if not self._is_in_head:
            self._head_reads.clear()
        self._advance()
        return self._arriving is not None

    def bytes_to_send(self) -> bytes:
        """Return the next bytes for the client."""
        full = len(self.out) >= limits.buffer_bytes_max
        data = bytes(memoryview(self.out)[: limits.send_bytes])
        del self.out[: limits.send_bytes]
        self._allowance.octets += len(data)
        if len(self.out) < limits.buffer_bytes_max:
            if self.current is not None:
                self.current.wake_writer()
            if full:
                self._advance()
                self.consumed()
        return data

    def sent_all(self) -> bool:
        """Return False: nothing follows by itself."""
        return False

    def lose(self) -> None:
        """Cancel whoever works for this client."""
        exchange, self.current = self.current, None
        self._waiting.clear()
        self._arriving = None
        if exchange is not None:
            exchange.lose()

    def drain(self, *, urgent: bool) -> None:
        """Close after the answer under way, or now; if it is not `urgent`, after the next one."""
        self._is_retiring = True
        if not urgent:
            return
        self.keep_alive = False
        if self.current is None:
            self.closing = True
            self.host.wake()

    def sweep(self, now: float) -> bool:
        """Break off what is overdue, and close what is idle or spent; False if that fails."""
        if self._allowance.let_go():
            self.host.resume()
        if self._allowance.is_used_up():
            self.drain(urgent=False)
        current, counters = self.current, self.counters
        if current is not None and current.done:  # discarding its body
            late = now - self._active > limits.body_wait_seconds_max
            counters.bodies_unwanted += late
            return not late
        if current is not None:
            self._active = now
            if current.overdue(now):
                counters.overdue(answering=current.started)
                self._end(None if current.started else 408)
        elif self._head_since and now - self._head_since > limits.head_seconds_max:
            counters.heads_slow += 1
            self._end(408)
        elif now - self._active > limits.idle_seconds_max and not self.closing:
            counters.connections_idle += 1
            self.drain(urgent=True)
        return True

    # The exchange's side.

    def finished(self, exchange: HTTP1Exchange) -> None:
        """Note that the current answer is complete."""
        exchange.take()
        self._active = self.host.now()
        if exchange.complete and self.keep_alive:
            self.current = None
            self.host.resume()
            self._advance()
        elif not self.keep_alive:
            self.current = None
            self.closing = True
        self.host.wake()

    def abandon(self) -> None:
        """Close without ending the answer, so that the client sees that it is not whole."""
        self.closing = True
        self.lose()
        self.host.wake()

    def distrust(self, *, hold: bool) -> None:
        """Count a bad token; drain a connection that has shown too many, and hold it if told so."""
        if self._allowance.distrust(hold=hold):
            self.drain(urgent=True)

    def consumed(self) -> None:
        """Note that a body was read, or answers were sent, and more may be read."""
        if not self.paused:
            self.host.resume()

    # The parser's side. What is raised here comes out of `feed_data` as a HttpParserError, so
    # the reason is kept in `_refusal`.

    def on_message_begin(self) -> None:
        """Begin a head."""
        self._is_in_head = True
        del self._head_reads[:-1]
        self._target = b""
        self._fields = []
        self._trailers = []
        self._field_bytes = 0

    def on_url(self, url: bytes) -> None:
        """Take a piece of the request's target."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field of the head or of the trailers."""
        fields = self._fields if self._arriving is None else self._trailers
        # llhttp leaves blanks behind a value (RFC 9112 §5); HTTP/2 servers reset a stream for them.
        fields.append((name.lower(), value.rstrip(b" \t")))
        self._field_bytes += len(name) + len(value)
        if len(fields) > limits.head_fields_max or self._field_bytes > limits.head_bytes_max:
            self._refuse(RequestRefusedError(431, "too many fields, or too long ones"))

    def on_headers_complete(self) -> None:
        """Make the exchange."""
        self._overhead_bytes, self._head_since, self._is_in_head = 0, 0.0, False
        if len(self._waiting) >= limits.pipelined_requests_max:
            self._refuse(RequestRefusedError(429, "too many requests at once"))
        parser = self._parser
        method, version = parser.get_method(), parser.get_http_version()
        if is_other_protocol(method, self._target, version, b"".join(self._head_reads)):
            self._refuse(RequestRefusedError(505, "another protocol than HTTP"))
        try:
            request = read_head(
                method,
                self._target,
                self._fields,
                version=version,
            )
        except RequestRefusedError as refusal:
            self._refuse(refusal)
            return
        exchange = HTTP1Exchange(request, self)
        exchange.upgrades = parser.should_upgrade()
        exchange.last = exchange.upgrades or not parser.should_keep_alive()
        self._arriving = exchange
        self._waiting.append(exchange)

    def on_body(self, data: bytes) -> None:
        """Take a piece of the body, which pays for its framing."""
        paid = len(data) * (1 + limits.chunk_overhead_ratio) + limits.chunk_overhead_bytes
        self._overhead_bytes = max(0, self._overhead_bytes - paid)
        exchange = self._arriving
        if exchange is None:
            return
        if exchange.is_blocked(len(data)):
            if not exchange.refuse_body():
                self._refuse(RequestRefusedError(413, "the body is too large"))
            self.counters.refused(413)
        if not exchange.done:
            exchange.feed(data)
            return
        self._discarded += len(data)
        if self._discarded > limits.discard_bytes_max:
            self.counters.bodies_unwanted += 1
            self.abandon()

    def on_message_complete(self) -> None:
        """End the request."""
        exchange, self._arriving = self._arriving, None
        self._discarded = 0
        if exchange is None:
            return
        exchange.feed_end(self._trailers)
        if exchange is self.current and exchange.done:
            self.finished(exchange)

    def _refuse(self, refusal: RequestRefusedError) -> None:
        self._refusal = refusal
        raise refusal

    def _advance(self) -> None:
        """Begin the next request that waits, if none is under way.

        One that is answered inline comes back here through `finished`: the loop goes on with the
        next, since a pipeline is longer than a stack is deep.
        """
        if self._advancing:
            return
        self._advancing = True
        while self._is_free():
            self.current = self._waiting.popleft()
            self._allowance.requests += 1
            if self.current.last or self._is_retiring:
                self.keep_alive = False
            self.host.dispatch(self.current)
        self._advancing = False

    def _is_free(self) -> bool:
        """Return whether another request waits and may be worked on now."""
        if self.current is not None or self.closing or not self._waiting:
            return False
        return len(self.out) < limits.buffer_bytes_max

    def _break(self, refusal: RequestRefusedError) -> None:
        """Answer what cannot be read on with an error, and close.

        An earlier request of the pipeline is whole: its answer comes first and closes.
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
        """Close, with an answer of this status if one may still be given."""
        if status is not None:
            asked = None if self.current is None else self.current.request
            status, fields, body = problems.of_wire(status, () if asked is None else asked.headers)
            own = [(b"date", self.host.date()), (b"content-length", b"%d" % len(body))]
            self.out += b"HTTP/1.1 %d %b\r\n" % (status, PHRASES.get(status, b""))
            self.out += written([*fields, *own, (b"connection", b"close")]) + b"\r\n"
            if asked is None or asked.method != b"HEAD":
                self.out += body
        self.abandon()
