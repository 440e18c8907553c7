"""Defines how a call, the stream that carries it, its connection and the pool talk to each other.

1. `UpstreamPool.start` takes a `CallObserver` (the caller) and finds a connection for it.
2. The connection calls `begun` with a `RequestStream`: the HTTP/1.1 connection itself, or one
   stream of an HTTP/2 connection. The caller sends its request on it with `begin`.
3. The stream calls `progressed` whenever more of the `IncomingResponse` has arrived; the caller
takes it. 4. The caller ends the call with `release`. If the call fails, the pool calls `again`, and
`begun`
   follows with another stream; or it calls `failed`.

All of these are synchronous calls that never wait. This module knows no tokens and no client.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from crewgate._datapath.body_relay import BodyRelay
from crewgate.core.delivery import ENDING
from crewgate.core.http_types import HeaderField
from crewgate.errors import UpstreamError
from crewgate.upstream.balancer import Host


class SingleCallReuseKey:
    """The reuse key of a call that has a connection to itself: no other call uses it, ever."""


# Calls with the same key may share a connection: "" (all calls), a crew's name, a branch's key.
ReuseKey = str | bytes | SingleCallReuseKey


class RequestHead(msgspec.Struct, frozen=True, gc=False):
    """The head of a request to the tool's server, without Host and framing fields.

    `length` is the size of the body in bytes, None if it is unknown. HTTP/1.1 sends `lines`, the
    fields in wire format, each with its CRLF (`written`); HTTP/2 sends `fields`.
    """

    method: bytes
    target: bytes
    length: int | None
    lines: bytes = b""
    fields: Sequence[HeaderField] = ()

    def __repr__(self) -> str:
        """Omit fields and target, which hold secrets."""
        return f"<RequestHead {self.method!r}>"


class IncomingResponse(Protocol):
    """What has arrived of a response.

    `status` is 0 until the head is complete. `complete`: all of the response has arrived, and
    `take` may still return bytes of the body. `informed`: `take_informational` has something.
    """

    informed: bool
    status: int
    headers: list[HeaderField]
    trailers: list[HeaderField]
    complete: bool

    def take(self) -> bytes:
        """Return the bytes of the body that have arrived and were not taken."""

    def take_informational(self) -> list[tuple[int, list[HeaderField]]]:
        """Return the informational responses (RFC 9110 §15.2) that were not taken yet."""


class UpstreamConnection(Protocol):
    """The parts of an HTTP/1.1 or HTTP/2 connection that the pool uses.

    `reuse_key` is the key of the calls that it has carried; None before the first.
    """

    reuse_key: ReuseKey | None

    @property
    def host(self) -> Host:
        """The server at the other end."""

    @property
    def free_streams(self) -> int:
        """How many further calls the connection may carry now."""

    @property
    def is_idle(self) -> bool:
        """Whether the connection carries no call."""

    def is_usable(self, caller: "CallObserver") -> bool:
        """Return whether the connection seems alive, as far as this call needs to know."""

    def carry(self, caller: "CallObserver") -> None:
        """Begin a call; `free_streams` must not be 0."""

    def sweep(self, now: float) -> None:
        """Fail calls that are overdue at `now`; close the connection if unused for too long."""

    def close(self) -> None:
        """Accept no further call; close at once, or after the last call."""

    def abort(self, reason: str = ENDING) -> None:
        """Close at once, and fail the calls under way with `reason`."""


class RequestStream(Protocol):
    """Carries one call: an HTTP/1.1 connection, or one stream of an HTTP/2 connection."""

    @property
    def answer(self) -> IncomingResponse:
        """What has arrived of the response."""

    @property
    def touched(self) -> bool:
        """Whether the tool may have seen the call, because the kernel has taken a byte of it.

        A refund depends on this. The value becomes False again if the server states that it has not
        processed the call (RFC 9113 §8.7).
        """

    def begin(self, head: RequestHead, body: bytes, *, ends: bool) -> bool:
        """Send the head and the first bytes of the body, or the whole body if `ends`.

        Return False if the connection cannot take the request. Then nothing was sent, and `failed`
        follows soon, or `begun` with another stream.
        """

    def send_body(self, data: bytes) -> bool:
        """Send a piece of the body; return False if the next must wait for `writable`."""

    def end_body(self, trailers: Sequence[HeaderField]) -> None:
        """End the body."""

    def pause(self) -> None:
        """Stop reading the response."""

    def resume(self) -> None:
        """Go on reading the response."""

    def relay_to(self, relay: BodyRelay) -> None:
        """Offer the body of the response to `relay`, until the call ends.

        The stream calls `progressed` for what `relay` does not take, and for the end. It may do so
        for everything.
        """

    def release(self) -> None:
        """End the call, complete or not; the caller gets no further callback."""


class CallObserver(Protocol):
    """The caller: the party that wants a response, called by its stream and by the pool.

    The pool sets `attempts`, how often it has retried the call (0 at first), and `reuse_key`.
    """

    attempts: int
    reuse_key: ReuseKey

    @property
    def over(self) -> bool:
        """Whether the call has ended for the caller: it wants no callback any more."""

    @property
    def wait_turn(self) -> tuple[ReuseKey, ...]:
        """The keys that take turns while calls wait: the crew, then the branch."""

    @property
    def repeatable(self) -> bool:
        """Whether `begun` may be called again, because no part of the body is lost."""

    @property
    def idempotent(self) -> bool:
        """Whether a retry is safe even if the server has seen the call (RFC 9110 §9.2.2)."""

    def begun(self, stream: RequestStream) -> None:
        """Send the request on this stream; each retry calls this again, with another stream."""

    def again(self) -> None:
        """Forget the stream, which has ended: a retry follows, with `begun` or `failed`."""

    def progressed(self) -> None:
        """Take more of the response."""

    def writable(self) -> None:
        """Send more of the body, if there is more."""

    def failed(self, error: UpstreamError) -> None:
        """Take note that no response, or no more of it, will arrive; the stream has ended."""
