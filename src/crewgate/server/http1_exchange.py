"""Frames the response of one HTTP/1.1 request (RFC 9112 §6).

If a body is shorter than its Content-Length, the exchange closes the connection; if a body is
longer, the exchange cuts the body at that length. So no client takes a byte of one response for the
next. This module does not parse.
"""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Protocol

from crewgate import limits
from crewgate._native.fields import written
from crewgate.core.http_types import HeaderField
from crewgate.errors import PeerError
from crewgate.server.exchange import BODYLESS, Exchange, ExchangeWork
from crewgate.server.protocol import ConnectionHost
from crewgate.server.request import Request

PHRASES = {status.value: status.phrase.encode() for status in HTTPStatus}


class HTTP1Owner(Protocol):
    """The parts of `HTTP1` that an exchange uses."""

    host: ConnectionHost
    out: bytearray
    keep_alive: bool

    def finished(self, exchange: "HTTP1Exchange") -> None:
        """Go on after a complete response."""

    def abandon(self) -> None:
        """Close without ending the response."""

    def distrust(self, *, hold: bool) -> None:
        """Count a bad token; if `hold`, stop reading."""

    def consumed(self) -> None:
        """Read on, because the body was read."""


class HTTP1Exchange(Exchange):
    """One request over HTTP/1.1 and its response; if `last`, the connection closes after it."""

    __slots__ = ("_chunked", "_protocol", "_remaining", "last")

    def __init__(self, request: Request, protocol: HTTP1Owner) -> None:
        super().__init__(request, protocol.host.peer)
        self._protocol = protocol
        self._chunked = False
        self._remaining: int | None = None  # bytes left of a declared Content-Length
        self.last = False

    def inform(self, status: int, headers: Sequence[HeaderField]) -> None:
        """Send an informational response, unless the client leaves too much unread."""
        out = self._protocol.out
        if not self._may_inform(status) or self.request.version == "1.0":
            return
        if len(out) < limits.buffer_bytes_max:
            out += b"HTTP/1.1 %d %b\r\n" % (status, PHRASES.get(status, b""))
            out += b"".join([b"%b: %b\r\n" % field for field in headers]) + b"\r\n"
            self._protocol.host.wake()

    def respond(self, status: int, headers: Sequence[HeaderField], body: bytes = b"") -> None:
        """Send a whole response."""
        if self.done or self.started:
            return
        protocol = self._protocol
        if self._owes_continue():
            # The client may still send the body or not, and the server cannot tell which.
            protocol.keep_alive = False
        self.started = self.done = True
        added: list[HeaderField] = [(b"date", protocol.host.date())]
        if status not in BODYLESS:
            added.append((b"content-length", b"%d" % len(body)))
        protocol.out += self._head(status, (*headers, *added))
        if self.request.method != b"HEAD" and status not in BODYLESS:
            protocol.out += body
        protocol.finished(self)

    def start(self, status: int, headers: Sequence[HeaderField], *, ends: bool = False) -> None:
        """Send the head of a streamed response."""
        if self.done:
            raise PeerError("the client has disconnected")
        protocol = self._protocol
        if self._owes_continue():
            protocol.keep_alive = False
        self.started = True
        length, added = None, [(b"date", protocol.host.date())]
        for name, value in headers:
            if name == b"content-length":
                length = value
            elif name == b"date":
                added = []  # a forwarder adds a Date only if there is none (RFC 9110 §6.6.1)
        if self.request.method == b"HEAD" or status in BODYLESS:
            self._remaining = 0
        elif length is not None:
            self._remaining = int(length)
        elif self.request.version == "1.1":
            self._chunked = True
            added.append((b"transfer-encoding", b"chunked"))
        else:
            protocol.keep_alive = False
        protocol.out += self._head(status, (*headers, *added))
        if ends:
            self.finish()
        else:
            protocol.host.wake()

    def push(self, data: bytes) -> bool:
        """Queue a piece; return False once `limits.buffer_bytes_max` or more are unsent."""
        if self.done:
            raise PeerError("the client has disconnected")
        if data:
            self._add(data)
        if len(self._protocol.out) < limits.buffer_bytes_max:
            return True
        self._note_full()
        return False

    def finish(self, data: bytes = b"", trailers: Sequence[HeaderField] = ()) -> None:
        """End the response; close the connection if its body is too short."""
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
        """Close the connection in the middle of the response."""
        if not self.done:
            self.done = True
            self._protocol.abandon()

    def distrust(self, *, hold: bool) -> None:
        """Count a bad token; if `hold`, stop reading."""
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
        """Return whether the client accepts trailers (RFC 9110 §6.5.1).

        Some clients fail if they get trailers without having asked for them (Java 17).
        """
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

    def proceed(self, work: ExchangeWork) -> None:
        """Do a later part of the application's work, inside the barrier of this request."""
        self._protocol.host.run(self, work)

    def _now(self) -> float:
        return self._protocol.host.now()

    def _ask_for_body(self) -> None:
        if self._owes_continue() and self.request.version == "1.1":
            self._protocol.out += b"HTTP/1.1 100 Continue\r\n\r\n"
            self._protocol.host.wake()

    def _consumed(self, count: int) -> None:  # noqa: ARG002 - HTTP/1.1 has no windows
        self._protocol.consumed()
