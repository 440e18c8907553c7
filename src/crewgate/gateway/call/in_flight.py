"""Indexes the calls in flight by branch and ancestor, to end them on revocation or `exp`.

Revocations arrive in two ways:

- The agent pushes the revoked keys. This is fast, but a push may be lost.
- The worker scans every permit when the table's revocation generation has changed. This is certain.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from crewgate import limits
from crewgate._native.permit import Permit
from crewgate.core.audit.records import CallOutcome
from crewgate.server.request import ClientInfo


class InFlightCall(Protocol):
    """A call in flight, as this registry sees it."""

    permit: Permit
    peer: ClientInfo
    extend_after_ns: int  # when to extend the reservation, CLOCK_BOOTTIME

    def end(self, outcome: CallOutcome) -> bool:
        """End the call with `outcome`; False if it was over or ending already."""


class _Branch:
    """A branch with its own calls in flight, and the latest `exp` of their grants (s since 1970).

    `keys` are those of the branch and of its ancestors.
    """

    __slots__ = ("calls", "expires", "keys")

    def __init__(self, keys: tuple[bytes, ...]) -> None:
        self.keys = keys
        self.calls: set[InFlightCall] = set()
        self.expires = 0


class InFlightCalls:
    """The calls in flight of one worker."""

    def __init__(self, reservation_ns: int, on_first: Callable[[], None] = lambda: None) -> None:
        """Each extension of a reservation lasts `reservation_ns` nanoseconds.

        `on_first` is called when a call is added and none was in flight.
        """
        self._on_first = on_first
        self._branches: dict[bytes, _Branch] = {}  # by its own key
        self._below: dict[bytes, set[_Branch]] = {}  # by the key of the branch or of an ancestor
        self._reservation_ns = reservation_ns
        # What scans have ended: when (monotonic clock, ns), and the keys that would end it.
        self._scanned: deque[tuple[int, frozenset[bytes]]] = deque(maxlen=limits.cuts_remembered)

    def __len__(self) -> int:
        return sum(len(branch.calls) for branch in self._branches.values())

    def __bool__(self) -> bool:
        return bool(self._branches)

    def add(self, call: InFlightCall) -> None:
        """Add a permitted call. The other calls of its branch may go on until its grant's `exp`."""
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
        branch.calls.add(call)
        branch.expires = max(branch.expires, grant.claims.exp)

    def remove(self, call: InFlightCall) -> None:
        """Remove a call that is over."""
        key = call.permit.grant.branch_key
        branch = self._branches[key]
        branch.calls.discard(call)
        if branch.calls:
            return
        del self._branches[key]
        for above in branch.keys:
            below = self._below[above]
            below.discard(branch)
            if not below:
                del self._below[above]

    def terminate(self, keys: Iterable[bytes]) -> int:
        """End the calls of these branches and of all branches below them; return how many."""
        to_end: set[InFlightCall] = set()
        for key in keys:
            for branch in self._below.get(key, ()):
                to_end |= branch.calls
        return _end(to_end, CallOutcome.REVOKED)

    def terminate_peers(self, peers: Iterable[ClientInfo]) -> int:
        """End the calls that came over the connections of `peers`; return how many."""
        to_end = {id(peer) for peer in peers}  # each connection has one ClientInfo object
        return _end(
            [call for call in self._every() if id(call.peer) in to_end], CallOutcome.REVOKED
        )

    def terminate_revoked(self) -> int:
        """End the calls whose permit is revoked, for whatever reason; return how many."""
        return _end([call for call in self._every() if call.permit.revoked], CallOutcome.REVOKED)

    def end_revoked(self, now_ns: int) -> int:
        """Scan for revoked calls and end them; return how many.

        They are remembered for `claim`, because a push about them may still arrive. `now_ns` is the
        monotonic clock, here and in what `claim` returns.
        """
        while self._scanned and now_ns - self._scanned[0][0] > limits.cut_memory_seconds * 1e9:
            self._scanned.popleft()
        count = 0
        for call in [call for call in self._every() if call.permit.revoked]:
            if call.end(CallOutcome.REVOKED):
                count += 1
                self._scanned.append((now_ns, frozenset(call.permit.revocable)))
        return count

    def claim(self, keys: Iterable[bytes]) -> tuple[int, int]:
        """Return how many calls scans have ended because of these keys, and when the last.

        Each call is claimed once. (0, 0) if there is none.
        """
        wanted = frozenset(keys)
        claimed = [entry for entry in self._scanned if not wanted.isdisjoint(entry[1])]
        for entry in claimed:
            self._scanned.remove(entry)
        return len(claimed), max((when for when, _ in claimed), default=0)

    def end_all(self) -> int:
        """End every call because the worker shuts down; return how many."""
        return _end(list(self._every()), CallOutcome.CANCELLED)

    def sweep(self, now: float, now_boot_ns: int) -> int:
        """End the calls past their branch's latest `exp`; extend the reservations of the others.

        `now` is the wall clock in seconds, `now_boot_ns` is CLOCK_BOOTTIME. Returns how many ended.
        """
        expired: list[InFlightCall] = []
        for branch in self._branches.values():
            if now >= branch.expires:
                expired.extend(branch.calls)
                continue
            for call in branch.calls:
                if now_boot_ns >= call.extend_after_ns:
                    call.permit.extend(now_boot_ns + self._reservation_ns)
                    call.extend_after_ns = now_boot_ns + self._reservation_ns // 3
        return _end(expired, CallOutcome.EXPIRED)

    def _every(self) -> Iterator[InFlightCall]:
        for branch in self._branches.values():
            yield from branch.calls


def _end(calls: Iterable[InFlightCall], outcome: CallOutcome) -> int:
    return sum([call.end(outcome) for call in calls])
