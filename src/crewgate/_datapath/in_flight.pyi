"""Keeps the calls in flight by branch, to end them on revocation or `exp`.

Revocations arrive in two ways:

- The agent pushes the revoked keys. This is fast, but a push may be lost.
- The worker scans every permit when the table's revocation generation has changed. This is certain.
"""

from collections.abc import Callable, Iterable
from typing import TypeAlias

from crewgate._datapath.http1_connection import HTTP1Connection
from crewgate._datapath.http2_stream import HTTP2Stream
from crewgate._datapath.plain_answer import PlainAnswer
from crewgate._native.permit import Permit
from crewgate.core.audit.records import CallOutcome
from crewgate.server.request import ClientInfo
from crewgate.upstream.interfaces import CallObserver

StraightStream: TypeAlias = HTTP1Connection | HTTP2Stream
StraightAnswer: TypeAlias = PlainAnswer | HTTP2Stream

class InFlightCall:
    """The base of all calls in flight, as their registry sees them."""

    permit: Permit
    peer: ClientInfo
    extend_after_ns: int  # when to extend the reservation, CLOCK_BOOTTIME

    def end(self, outcome: CallOutcome) -> bool:
        """End the call with `outcome`; False if it was over or ending already."""

    def answered(self, stream: StraightStream, answer: StraightAnswer) -> None:
        """Take the whole answer, which is valid until this returns.

        Only a straight call has this method. The call ends with the stream's `release`, or an
        ordinary call goes on with the stream's `continue_with`.
        """

    def make_ordinary(self, stream: StraightStream) -> CallObserver:
        """Return the ordinary call that goes on in place of this one; do not call the stream.

        Only a straight call has this method. The stream has sent its request, or sends it at the
        end of this turn.
        """

class InFlightCalls:
    """The calls in flight of one worker."""

    def __init__(self, reservation_ns: int, on_first: Callable[[], None] | None = None) -> None:
        """Each extension of a reservation lasts `reservation_ns` nanoseconds.

        The registry calls `on_first` when a call is added and none is in flight.
        """
    def __len__(self) -> int: ...
    def add(self, call: InFlightCall) -> None:
        """Add a permitted call. The other calls of its branch may go on until its grant's `exp`.

        Raises ValueError if the call is in flight already.
        """
    def remove(self, call: InFlightCall) -> None:
        """Remove a call that is over; do nothing if it is not in flight."""
    def replace(self, old: InFlightCall, new: InFlightCall) -> None:
        """Let `new` go on with the permit of `old`, which is removed.

        Raises ValueError if `old` is not in flight, or `new` is.
        """
    def terminate(self, keys: Iterable[bytes]) -> int:
        """End the calls of these branches and of all branches below them; return how many."""
    def terminate_peers(self, peers: Iterable[ClientInfo]) -> int:
        """End the calls that came over the connections of `peers`; return how many."""
    def terminate_revoked(self) -> int:
        """End the calls whose permit is revoked, for whatever reason; return how many."""
    def end_revoked(self, now_ns: int) -> int:
        """Scan for revoked calls and end them; return how many.

        The registry remembers them for `claim`, because a push about them may still arrive. The
        clock of `now_ns`, and of the result of `claim`, is the monotonic clock.
        """
    def claim(self, keys: Iterable[bytes]) -> tuple[int, int]:
        """Return how many calls scans have ended because of these keys, and when the last.

        The registry counts each call once. (0, 0) if there is none.
        """
    def end_all(self) -> int:
        """End every call because the worker shuts down; return how many."""
    def sweep(self, now: float, now_boot_ns: int) -> int:
        """End the calls past their branch's latest `exp`; extend the reservations of the others.

        `now` is the wall clock in seconds, `now_boot_ns` is CLOCK_BOOTTIME. Returns how many ended.
        """
