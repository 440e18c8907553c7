"""What a call to a tool's server is made of: what is asked, who asks, and what carries it.

Three parties meet here. A `CallObserver` has a permit and wants an answer; a `RequestStream` (an
HTTP/1.1 connection, or one stream of an HTTP/2 connection) sends and receives for it; an `Response`
is read by the caller when the carrier says that there is more of it. All of it is plain calls:
nobody waits. Knows nothing of tokens or the client.
"""

from collections.abc import Sequence
from enum import Enum
from typing import Protocol

import msgspec

from crewgate.core.http import HeaderField
from crewgate.errors import UpstreamError, UpstreamTimeoutError
from crewgate.upstream.balancer import Host


class ExclusiveUse:
    """The reuse key of one call: its connection carries no other call, before or after it."""


# Those whose calls may follow each other on a connection: of everybody, a crew, or a branch.
ReuseKey = str | bytes | ExclusiveUse
ENDING = "the gateway is ending"  # why calls fail that are under way then
OURS = "an error of the gateway's own"


class StarvedError(UpstreamTimeoutError):
    """The client owes the rest of a request's body: its server is not to blame."""

    def __init__(self) -> None:
        super().__init__("the client did not send the rest of the request's body in time")


class RequestHead(msgspec.Struct, frozen=True, gc=False):
    """What is asked of the tool's server, without Host and framing.

    `length` is that of the body in bytes, None if it is not known. HTTP/1.1 is given `lines`, the
    fields as they go on the wire, each with its CRLF (`written`); HTTP/2 is given `fields`.
    """

    method: bytes
    target: bytes
    length: int | None
    lines: bytes = b""
    fields: Sequence[HeaderField] = ()

    def __repr__(self) -> str:
        """Without fields and target, which hold secrets."""
        return f"<RequestHead {self.method!r}>"


class Response(Protocol):
    """What has come of an answer. `status` is 0 before its head is complete.

    `complete` tells that all of it has arrived; `take` may still have bytes of the body then.
    `informed` tells that `take_informational` has something.
    """

    informed: bool
    status: int
    headers: list[HeaderField]
    trailers: list[HeaderField]
    complete: bool

    def take(self) -> bytes:
        """Return what has arrived of the body and was not taken."""

    def take_informational(self) -> list[tuple[int, list[HeaderField]]]:
        """Return the informational answers (RFC 9110 §15.2) that have come and were not taken."""


class DeliveryState(Enum):
    """What the server has seen of a call whose connection broke."""

    UNSEEN = "nothing"
    STALE = "nothing: what came on a kept connection ended it before the call was written"
    MET_ITS_END = "nothing, most likely: the server had closed a kept connection"
    BREACHED = "all of it, perhaps: in its answer, or another's, the server broke HTTP/2's rules"
    LOST = "all of it, perhaps"
    LOST_TOO = "the same, on a connection whose end has been counted with another call"
    ANSWERED = "all that it wanted: an answer had begun, or what it takes for one"


class UpstreamConnection(Protocol):
    """A connection of either protocol, as the pool sees it."""

    member: Host
    reuse_key: ReuseKey | None  # whose calls it has carried; None before the first

    @property
    def free_streams(self) -> int:
        """How many further calls it may carry now."""

    @property
    def is_idle(self) -> bool:
        """Whether it carries no call."""

    def is_usable(self, caller: "CallObserver") -> bool:
        """Return whether it is alive, as far as one can see and this call needs to know."""

    def carry(self, caller: "CallObserver") -> None:
        """Begin a call; there is room."""

    def sweep(self, now: float) -> None:
        """Break off what takes too long, close what was long unused."""

    def close(self) -> None:
        """Take no further call; close when there is none."""

    def abort(self, why: str = ENDING) -> None:
        """Close, and fail the calls under way."""


class PoolCallbacks(Protocol):
    """The pool, as its connections see it."""

    first_byte_seconds: float
    idle_seconds: float

    @property
    def now(self) -> float:
        """Monotonic seconds."""

    def left(self, connection: UpstreamConnection, *, answered: bool) -> None:
        """A call has ended; `answered` if the head of its answer had come."""

    def freed(self, connection: UpstreamConnection) -> None:
        """There is room for another call."""

    def rests(self, connection: UpstreamConnection) -> None:
        """There is room for another call, but not for `limits.upstream_rest_seconds` yet.

        Its last answer was over with its head: a server that sends a body all the same has so long.
        """

    def ended(self, connection: UpstreamConnection) -> None:
        """The connection is closed."""

    def broke(
        self,
        connection: UpstreamConnection,
        caller: "CallObserver",
        error: UpstreamError,
        fate: DeliveryState,
    ) -> None:
        """A call has failed, and its caller has not been told."""


class RequestStream(Protocol):
    """Carries one call. `touched`: the kernel has a byte of it, so that the tool may have seen it.

    That fact decides a refund. A carrier that finds out that the server has not looked at the call
    takes `touched` back (RFC 9113 §8.7).
    """

    @property
    def answer(self) -> Response:
        """What has come of the answer."""

    @property
    def touched(self) -> bool:
        """Whether the tool may have seen the call."""

    def begin(self, head: RequestHead, body: bytes, *, ends: bool) -> bool:
        """Send the head with the first of its body, or all of it if that `ends` it.

        False if nothing was sent, because the connection is dead: the caller hears of it soon,
        through `failed`, or `begun` with another carrier.
        """

    def send_body(self, data: bytes) -> bool:
        """Send a piece of the body; False if that is enough until `CallObserver.writable`."""

    def end_body(self, trailers: Sequence[HeaderField]) -> None:
        """End the body."""

    def pause(self) -> None:
        """Read no more of the answer for now."""

    def resume(self) -> None:
        """Read on."""

    def release(self) -> None:
        """End the call, wherever it is; the caller hears nothing more."""


class CallObserver(Protocol):
    """Who asks. Called by carriers and the pool.

    `attempts`, 0 at first, and `reuse_key` are the pool's.
    """

    attempts: int
    reuse_key: ReuseKey

    @property
    def over(self) -> bool:
        """Whether it wants nothing any more."""

    @property
    def wait_turn(self) -> tuple[ReuseKey, ...]:
        """Whose turn it takes where calls wait: a crew's, and in that a branch's."""

    @property
    def repeatable(self) -> bool:
        """Whether `begun` can be called again: nothing of the body is used up."""

    @property
    def idempotent(self) -> bool:
        """Whether it may be, although the server may have seen it (RFC 9110 §9.2.2)."""

    def begun(self, carrier: RequestStream) -> None:
        """Begin on this carrier; called again, with another, where a call is tried again."""

    def again(self) -> None:
        """The carrier is gone, and the call is tried again: `begun` follows, or `failed`."""

    def progressed(self) -> None:
        """There is more of the answer."""

    def writable(self) -> None:
        """More of the body may be sent."""

    def failed(self, error: UpstreamError) -> None:
        """There will be no answer, or no more of it. The carrier is gone."""
