"""Every call in flight on this worker, by branch and ancestor: what a revocation or `exp` ends.

A call is ended by telling it why. Refuses to know requests, connections
and clocks. Two ways lead here: keys that the agent names (fast), and a look at every permit when
the table's revocation generation has moved (certain).
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from crewgate import limits
from crewgate._native.permit import Permit
from crewgate.core.audit.records import CallOutcome
from crewgate.server import ClientInfo


class InFlightCall(Protocol):
    """A call in flight, as this registry sees it."""

    permit: Permit
    peer: ClientInfo
    extend_after_ns: int  # CLOCK_BOOTTIME

    def end(self, outcome: CallOutcome) -> bool:
        """End the call now, because of `outcome`; False if it was over or ending already."""


class _Branch:
    """A branch that has calls of its own in flight: those, and the newest `exp` of their grants."""

    __slots__ = ("expires", "flights", "keys")

    def __init__(self, keys: tuple[bytes, ...]) -> None:
        self.keys = keys  # of the branch and its ancestors
        self.flights: set[InFlightCall] = set()
        self.expires = 0


class InFlightCalls:
    """The calls in flight."""

    def __init__(self, reservation_ns: int, on_first: Callable[[], None] = lambda: None) -> None:
        """Reservations are kept alive for `reservation_ns` from each look on.

        `on_first` is called when a call comes and none was in flight.
        """
        self._on_first = on_first
        self._branches: dict[bytes, _Branch] = {}  # by their own key
        self._below: dict[bytes, set[_Branch]] = {}  # by key of a branch or an ancestor
        self._reservation_ns = reservation_ns
        self._looked: deque[tuple[int, frozenset[bytes]]] = deque(maxlen=limits.cuts_remembered)

    def __len__(self) -> int:
        return sum([len(branch.flights) for branch in self._branches.values()])

    def __bool__(self) -> bool:
        return bool(self._branches)

    def add(self, call: InFlightCall) -> None:
        """Take a call that was permitted; its grant extends other calls of the same branch."""
        if not self._branches:
            self._on_first()
        grant = call.permit.grant
        branch = self._branches.get(grant.branch_key)
        if branch is None:
            branch = self._branches[grant.branch_key] = _Branch(
                (grant.branch_key, *grant.path_keys)
            )
            for key in branch.keys:
                self._below.setdefault(key, set()).add(branch)
        branch.flights.add(call)
        branch.expires = max(branch.expires, grant.claims.exp)

    def remove(self, call: InFlightCall) -> None:
        """Forget a call that is over."""
        key = call.permit.grant.branch_key
        branch = self._branches[key]
        branch.flights.discard(call)
        if branch.flights:
            return
        del self._branches[key]
        for above in branch.keys:
            below = self._below[above]
            below.discard(branch)
            if not below:
                del self._below[above]

    def terminate(self, keys: Iterable[bytes]) -> int:
        """End the calls of these branches and of what is below them; return how many."""
        doomed: set[InFlightCall] = set()
        for key in keys:
            for branch in self._below.get(key, ()):
                doomed |= branch.flights
        return _end(doomed, CallOutcome.REVOKED)

    def terminate_peers(self, peers: Iterable[ClientInfo]) -> int:
        """End the calls that came over the connections of these; return how many."""
        gone = {id(peer) for peer in peers}  # a connection has one object
        return _end([each for each in self._every() if id(each.peer) in gone], CallOutcome.REVOKED)

    def terminate_revoked(self) -> int:
        """End the calls whose permit has been revoked in any way; return how many."""
        return _end([call for call in self._every() if call.permit.revoked], CallOutcome.REVOKED)

    def end_revoked(self, now_ns: int) -> int:
        """End revoked calls, unasked; a push about them may be on its way, so they are remembered.

        `now_ns` is the monotonic clock, here and in what `claim` returns.
        """
        while self._looked and now_ns - self._looked[0][0] > limits.cut_memory_seconds * 1e9:
            self._looked.popleft()
        count = 0
        for call in [call for call in self._every() if call.permit.revoked]:
            if call.end(CallOutcome.REVOKED):
                count += 1
                self._looked.append((now_ns, frozenset(call.permit.revocable)))
        return count

    def claim(self, keys: Iterable[bytes]) -> tuple[int, int]:
        """Return how many calls looks have ended that one of these keys ends, and when the last.

        Each is claimed once; (0, 0) if there is none.
        """
        wanted = frozenset(keys)
        claimed = [each for each in self._looked if not wanted.isdisjoint(each[1])]
        for entry in claimed:
            self._looked.remove(entry)
        return len(claimed), max((when for when, _ in claimed), default=0)

    def end_all(self) -> int:
        """End every call, because the worker ends; return how many."""
        return _end(list(self._every()), CallOutcome.CANCELLED)

    def sweep(self, now: float, now_boot_ns: int) -> int:
        """End calls past their branch's newest `exp` (wall clock, s) and extend reservations."""
        expired: list[InFlightCall] = []
        for branch in self._branches.values():
            if now >= branch.expires:
                expired.extend(branch.flights)
                continue
            for call in branch.flights:
                if now_boot_ns >= call.extend_after_ns:
                    call.permit.extend(now_boot_ns + self._reservation_ns)
                    call.extend_after_ns = now_boot_ns + self._reservation_ns // 3
        return _end(expired, CallOutcome.EXPIRED)

    def _every(self) -> Iterator[InFlightCall]:
        for branch in self._branches.values():
            yield from branch.flights


def _end(flights: Iterable[InFlightCall], outcome: CallOutcome) -> int:
    return sum([call.end(outcome) for call in flights])
