"""Carries calls over an HTTP/1.1 connection to a tool's server, one at a time (RFC 9112).

The connection frames requests, and decides when it may carry another call. It writes at the end of
a turn, in one piece: between two separate writes a server may go to sleep, and waking it costs
time. `sweep` checks the deadlines; there is no timer for each. This module knows no permits.
"""

from collections.abc import Sequence

from crewgate._datapath.body_relay import BodyRelay
from crewgate._datapath.in_flight import InFlightCall
from crewgate._datapath.plain_answer import PlainAnswer
from crewgate._datapath.pooled_connection import PooledConnection
from crewgate._datapath.response_parser import ResponseParser
from crewgate.core.http_types import HeaderField
from crewgate.errors import UpstreamError
from crewgate.upstream.interfaces import CallObserver, RequestHead

class UnsolicitedError(UpstreamError):
    """The server sent something although no request was written to it."""

class HTTP1Connection(PooledConnection):
    """One connection, the call that it carries, and the response; it is its own `RequestStream`.

    - `answer`: what has arrived of the response
    - `deadline`: when `sweep` fails the call or closes the connection, monotonic seconds
    - `idle_since`: when it last ended a call, monotonic seconds
    - `fresh`: it has carried no call yet
    - `touched`: the kernel has taken a byte of the call
    """

    idle_since: float

    @property
    def answer(self) -> ResponseParser: ...
    @property
    def deadline(self) -> float: ...
    @property
    def fresh(self) -> bool: ...
    @property
    def touched(self) -> bool: ...

    # A straight call.

    @property
    def plain(self) -> PlainAnswer:
        """The answer to the straight call, as far as it has arrived."""
    def begin_straight(
        self, caller: InFlightCall, request: bytes, head_size: int, is_for_head: bool
    ) -> None:
        """Carry a straight call: send `request`, its head of `head_size` bytes and its body."""
    def continue_with(self, caller: CallObserver) -> None:
        """Let `caller` go on in place of the straight call, and give it what has arrived.

        Raises:
            UpstreamError: what has arrived is no valid response.
        """

    # `RequestStream`, for the caller.

    def begin(self, head: RequestHead, body: bytes, *, ends: bool) -> bool:
        """Send the head and the first bytes of the body; return True."""
    def send_body(self, data: bytes) -> bool:
        """Send a piece of the body; return False if the next must wait for `writable`."""
    def end_body(self, trailers: Sequence[HeaderField]) -> None:
        """End the body."""
    def pause(self) -> None:
        """Stop reading, and the deadline: the client is slow, and has its own deadline."""
    def resume(self) -> None:
        """Go on reading."""
    def relay_to(self, relay: BodyRelay) -> None:
        """Offer the body of the answer to `relay`; the caller takes what that does not."""
    def release(self) -> None:
        """End the call; keep the connection if the exchange is complete or was not begun."""

    # `TransportCallbacks`, for the transport.

    def closed(self, error: OSError | None) -> None:
        """End the response if the close marks its end; otherwise the parser raises."""
    def failed(self, error: UpstreamError) -> None:
        """Close the connection, and report the call on it as failed."""
