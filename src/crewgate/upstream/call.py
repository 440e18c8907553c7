"""One request to a tool's server and its answer, from a permit to the end.

`touched` is the fact that decides a refund: the kernel has taken at least one byte of the request,
so the tool may have seen it. Refuses to send without a `Permit`. Knows nothing of tokens or the
client; fields arrive as they are to be sent, without Host and framing.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec
import trio

from crewgate import limits
from crewgate.errors import UpstreamError, UpstreamTimeoutError
from crewgate.upstream.response import Field

if TYPE_CHECKING:
    from crewgate._native.permit import Permit
    from crewgate.upstream.pool import Connection, Pool


class Source(Protocol):
    """Where the body of a request comes from."""

    @property
    def complete(self) -> bool:
        """Whether all of it has arrived."""

    @property
    def trailers(self) -> Sequence[Field]:
        """What follows it, once it is complete."""

    def take(self) -> bytes:
        """Return what has arrived and was not taken."""

    async def read(self) -> bytes:
        """Return the next piece, b"" at the end."""


class Head(msgspec.Struct, frozen=True, gc=False):
    """What is asked of the tool's server. `length` is that of the body, None if it is not known.

    `lines` are further fields as they go on the wire, each with its CRLF: those that many calls
    share are written once (`written`).
    """

    method: bytes
    target: bytes
    headers: list[Field]
    length: int | None
    lines: bytes = b""

    def __repr__(self) -> str:
        """Without fields and target, which hold secrets."""
        return f"<Head {self.method!r}>"


def written(fields: Sequence[Field]) -> bytes:
    """Return fields as HTTP/1.1 writes them (RFC 9112 §5)."""
    return b"".join([b"%b: %b\r\n" % field for field in fields])


class Call:
    """A request in flight. Use: `begin`, then `read` until b"", then `close`, whatever happened.

    When `begin` returns and `sending` is set, `send_body` must run beside what follows.
    """

    def __init__(self, permit: "Permit", pool: "Pool", head: Head) -> None:
        self.permit = permit
        self.touched = False
        self._pool = pool
        self._head = head
        self._connection: Connection | None = None
        self.sending = False  # `send_body` has not come to its end
        self._chunked = False

    @property
    def status(self) -> int:
        """The status of the answer; 0 before it has come."""
        return self._connection.response.status if self._connection else 0

    @property
    def headers(self) -> list[Field]:
        """The fields of the answer, names in lower case, empty before it has come."""
        return self._connection.response.headers if self._connection else []

    @property
    def trailers(self) -> list[Field]:
        """What followed the body."""
        return self._connection.response.trailers if self._connection else []

    async def begin(self, source: Source) -> None:
        """Connect and send the head, with the body if it is complete. UpstreamError on failure."""
        if source.complete and not source.trailers:
            body = source.take()
            data = self._format(len(body)) + body
        else:
            self.sending = True
            data = self._format(self._head.length)
        await self._send_first(data)
        if not self.sending:
            self._wait_for(limits.upstream_first_byte_seconds_max)

    async def send_body(self, source: Source) -> None:
        """Send the rest of the body as it comes.

        Ends quietly if the server stops listening: its answer, or the lack of one, says why.
        """
        connection = self._on_connection()
        try:
            while data := await source.read():
                self._wait_for(limits.upstream_idle_seconds_max)
                if self._chunked:
                    data = b"%x\r\n%b\r\n" % (len(data), data)
                await connection.wire.send(data)
            if self._chunked:
                await connection.wire.send(b"0\r\n%b\r\n" % written(source.trailers))
        except (OSError, trio.ClosedResourceError):
            return
        self.sending = False
        self._wait_for(limits.upstream_first_byte_seconds_max)

    async def receive_head(self) -> None:
        """Wait until `status` and `headers` are there. UpstreamError if they never come."""
        response = self._on_connection().response
        while not response.status:
            await self._receive()

    async def read(self) -> bytes:
        """Return the next piece of the answer's body as it comes, b"" at its end.

        UpstreamError if it breaks off.
        """
        response = self._on_connection().response
        while True:
            if data := response.take():
                return data
            if response.complete:
                return b""
            await self._receive()

    @property
    def ended(self) -> bool:
        """Whether the whole answer has arrived; `take` gives what was not read of it."""
        return self._on_connection().response.complete

    def take(self) -> bytes:
        """Return what has arrived of the body and was not read, without waiting."""
        return self._on_connection().response.take()

    def close(self) -> None:
        """Give the connection back if both sides are done with this call, else close it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            done = connection.response.complete and not self.sending
            self._pool.give_back(connection, reusable=done and connection.response.reusable)

    # Inside.

    def _format(self, length: int | None) -> bytes:
        head = self._head
        lines = [
            b"%b %b HTTP/1.1\r\nhost: %b\r\n" % (head.method, head.target, self._pool.authority),
            written(head.headers),
            head.lines,
        ]
        if length is None:
            self._chunked = True
            lines.append(b"transfer-encoding: chunked\r\n")
        elif length or head.method in {b"POST", b"PUT", b"PATCH"}:  # RFC 9110 §8.6
            lines.append(b"content-length: %d\r\n" % length)
        lines.append(b"\r\n")
        return b"".join(lines)

    async def _send_first(self, data: bytes) -> None:
        """Send on a kept connection, or on a new one if that turns out to be dead.

        A connection that dies before it takes a byte cannot have shown the tool anything: that
        retry is safe whatever the method (RFC 9112 §9.6).
        """
        connection = await self._pool.take(head_only=self._head.method == b"HEAD")
        try:
            sent = connection.wire.send_now(data)
        except OSError:
            connection = await self._pool.replace(connection)
            sent = 0
        self._connection = connection
        self._wait_for(limits.upstream_idle_seconds_max)
        try:
            while sent < len(data):
                if sent:
                    self.touched = True
                    data = data[sent:]
                await connection.wire.writable()
                sent = connection.wire.send_now(data)
        except OSError as error:
            if not self.touched:
                raise UpstreamError(f"the connection broke: {error.strerror}") from error
            return  # an answer may have come before the end: the reader will see
        self.touched = True

    async def _receive(self) -> None:
        connection = self._on_connection()
        try:
            data = await connection.wire.receive()
        except OSError as error:
            raise self._failure(f"the connection broke: {error.strerror}") from error
        if not data:
            if connection.overdue:
                raise UpstreamTimeoutError("the tool's server took too long")
            connection.response.feed_end()
            return
        self._wait_for(limits.upstream_idle_seconds_max)
        connection.response.feed(data)

    def _failure(self, text: str) -> UpstreamError:
        if self._on_connection().overdue:
            return UpstreamTimeoutError("the tool's server took too long")
        return UpstreamError(text)

    def _wait_for(self, seconds: float) -> None:
        """Let the pool's sweeper break the connection off if nothing moves for so long."""
        if self._connection is not None:
            self._connection.deadline = self._pool.now + seconds

    def _on_connection(self) -> "Connection":
        if self._connection is None:
            raise UpstreamError("the call has not begun, or is over")
        return self._connection
