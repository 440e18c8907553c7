"""One HTTP/1.1 request as an exchange: how an answer is framed (RFC 9112 §6).

Knows nothing of parsing. An answer that comes out shorter or longer than its Content-Length said
closes the connection, so that no byte of it can be taken for the next answer.
"""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Protocol

from crewgate import limits
from crewgate._native.fields import written
from crewgate.core.http import HeaderField
from crewgate.errors import ClientError
from crewgate.server.exchange import BODYLESS, Exchange
from crewgate.server.protocol import ConnectionHost
from crewgate.server.request import Request

PHRASES = {status.value: status.phrase.encode() for status in HTTPStatus}


class HTTP1Owner(Protocol):
    """The connection's protocol, as an exchange sees it."""

    host: ConnectionHost
    out: bytearray
    keep_alive: bool

    def finished(self, exchange: "HTTP1Exchange") -> None:
        """Note that the answer is complete."""

    def abandon(self) -> None:
        """Close without ending the answer."""

    def distrust(self, *, hold: bool) -> None:
        """Count a bad token."""

    def consumed(self) -> None:
        """Note that the body was read."""


class HTTP1Exchange(Exchange):
    """One request; `last` if its connection ends with it."""

    __slots__ = ("_chunked", "_protocol", "_remaining", "last")

    def __init__(self, request: Request, protocol: HTTP1Owner) -> None:
        super().__init__(request, protocol.host.peer)
        self._protocol = protocol
        self._chunked = False
        self._remaining: int | None = None  # of a declared Content-Length
        self.last = False

    def inform(self, status: int, headers: Sequence[HeaderField]) -> None:
        """Send an informational answer, unless the client leaves too much unread for that."""
        out = self._protocol.out
        if not self._may_inform(status) or self.request.version == "1.0":
            return
        if len(out) < limits.buffer_bytes_max:
            out += b"HTTP/1.1 %d %b\r\n" % (status, PHRASES.get(status, b""))
            out += b"".join([b"%b: %b\r\n" % field for field in headers]) + b"\r\n"
            self._protocol.host.wake()

    def respond(self, status: int, headers: Sequence[HeaderField], body: bytes = b"") -> None:
        """Answer in full."""
        if self.done or self.started:
            return
        protocol = self._protocol
        if self._owes_continue():
            protocol.keep_alive = False  # whether the body comes or not cannot be told
        self.started = self.done = True
        own: list[HeaderField] = [(b"date", protocol.host.date())]
        if status not in BODYLESS:
            own.append((b"content-length", b"%d" % len(body)))
        protocol.out += self._head(status, (*headers, *own))
        if self.request.method != b"HEAD" and status not in BODYLESS:
            protocol.out += body
        protocol.finished(self)

    def start(self, status: int, headers: Sequence[HeaderField], *, ends: bool = False) -> None:
        """Send the head of a streamed answer."""
        if self.done:
            raise ClientError("the client has gone")
        protocol = self._protocol
        if self._owes_continue():
            protocol.keep_alive = False
        self.started = True
        length, own = None, [(b"date", protocol.host.date())]
        for name, value in headers:
            if name == b"content-length":
                length = value
            elif name == b"date":
                own = []  # RFC 9110 §6.6.1: who forwards an answer without a Date adds one
        if self.request.method == b"HEAD" or status in BODYLESS:
            self._remaining = 0
        elif length is not None:
            self._remaining = int(length)
        elif self.request.version == "1.1":
            self._chunked = True
            own.append((b"transfer-encoding", b"chunked"))
        else:
            protocol.keep_alive = False
        protocol.out += self._head(status, (*headers, *own))
        if ends:
            self.finish()
        else:
            protocol.host.wake()

    def push(self, data: bytes) -> bool:
        """Send a piece; False once `limits.buffer_bytes_max` or more are unsent."""
        if self.done:
            raise ClientError("the client has gone")
        if data:
            self._add(data)
        if len(self._protocol.out) < limits.buffer_bytes_max:
            return True
        self._note_full()
        return False

    def finish(self, data: bytes = b"", trailers: Sequence[HeaderField] = ()) -> None:
        """End the answer."""
        if self.done:
            return
        if data:
            self._add(data)
        if self._remaining:
            self.reset(0)
            return
        protocol = self._protocol
        if self._chunked:
            lines = written(trailers) if self._takes_trailers() else b""
            protocol.out += b"0\r\n%b\r\n" % lines
        self.done = True
        protocol.finished(self)

    def reset(self, code: int) -> None:  # noqa: ARG002 - HTTP/1.1 has no codes
        """Close the connection in the middle of the answer."""
        if not self.done:
            self.done = True
            self._protocol.abandon()

    def distrust(self, *, hold: bool) -> None:
        """Count a bad token."""
        self._protocol.distrust(hold=hold)

    def _add(self, data: bytes) -> None:
        out = self._protocol.out
        if self._chunked:
            out += b"%x\r\n%b\r\n" % (len(data), data)
        else:
            if self._remaining is not None:
                data = data[: self._remaining]
                self._remaining -= len(data)
            out += data
        self._protocol.host.wake()

    def _takes_trailers(self) -> bool:
        """Return whether the client has said so (RFC 9110 §6.5.1); some fail on them (Java 17)."""
        return any(
            name == b"te" and b"trailers" in value.lower() for name, value in self.request.headers
        )

    def _head(self, status: int, headers: Sequence[HeaderField]) -> bytes:
        lines = [b"HTTP/1.1 %d %b\r\n" % (status, PHRASES.get(status, b""))]
        lines.append(written(headers))
        if not self._protocol.keep_alive:
            lines.append(b"connection: close\r\n")
        elif self.request.version == "1.0":
            lines.append(b"connection: keep-alive\r\n")
        lines.append(b"\r\n")
        return b"".join(lines)

    def _now(self) -> float:
        return self._protocol.host.now()

    def _ask_for_body(self) -> None:
        if self._owes_continue() and self.request.version == "1.1":
            self._protocol.out += b"HTTP/1.1 100 Continue\r\n\r\n"
            self._protocol.host.wake()

    def _consumed(self, count: int) -> None:  # noqa: ARG002 - bytes are not counted here
        self._protocol.consumed()
