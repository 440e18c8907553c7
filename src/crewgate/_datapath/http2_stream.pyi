"""Carries one call on one stream of an HTTP/2 connection to a tool's server."""

from collections.abc import Sequence

from crewgate._datapath.body_relay import BodyRelay
from crewgate._datapath.http2_stream_host import HTTP2StreamHost
from crewgate.core.http_types import HeaderField
from crewgate.upstream.interfaces import CallObserver, RequestHead

class HTTP2Stream:
    """One call on one stream; it is both the `RequestStream` and the `Response` of the call.

    `caller` is None if it carries a straight call. Then the lists are None until an ordinary call
    goes on.
    `number` is the number of the stream, 0 before `begin`. `is_refused`: the engine refused the
    request. `paused`: the caller does not want more of the response now. `reset`: the server reset
    the stream, or its response is malformed; neither is a failure of the server. `deadline` is in
    monotonic seconds.
    """

    number: int
    is_refused: bool
    paused: bool
    reset: bool
    informed: bool
    status: int
    headers: list[HeaderField]
    trailers: list[HeaderField]
    complete: bool
    deadline: float

    def __init__(self, connection: HTTP2StreamHost, caller: CallObserver) -> None: ...
    @property
    def caller(self) -> CallObserver | None: ...
    @property
    def answer(self) -> HTTP2Stream:
        """The response: this object."""
    @property
    def touched(self) -> bool: ...
    def begin(self, head: RequestHead, body: bytes, *, ends: bool) -> bool:
        """Open the stream with the head and the first bytes of the body; False if refused."""
    def send_body(self, data: bytes) -> bool: ...
    def end_body(self, trailers: Sequence[HeaderField]) -> None: ...
    def pause(self) -> None:
        """Stop the callbacks `progressed`, and the deadline; untaken bytes open no window."""
    def resume(self) -> None:
        """Go on with the callbacks, and set a new deadline."""
    def relay_to(self, relay: BodyRelay) -> None:
        """Offer the body of the answer to `relay`; the caller takes what that does not."""
    def release(self) -> None: ...
    def continue_with(self, caller: CallObserver) -> None:
        """Let `caller` go on in place of the straight call, and give it what has arrived."""
    def take(self) -> bytes: ...
    def take_informational(self) -> list[tuple[int, list[HeaderField]]]: ...
