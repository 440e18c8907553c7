"""Every call in flight on this worker, by branch and ancestor: what a revocation or `exp` ends.

A call is ended by telling it why; it cancels its own scope. Refuses to know requests, connections
and clocks. Two ways lead here: keys that the agent names (fast), and a look at every permit when
the table's revocation generation has moved (certain).
"""

from collections.abc import Iterable
from typing import Protocol

from crewgate._native.permit import Permit
from crewgate.core.record import Outcome


class Flight(Protocol):
    """A call in flight, as this registry sees it."""

    permit: Permit
    extend_after_ns: int  # CLOCK_BOOTTIME

    def end(self, outcome: Outcome) -> bool:
        """End the call now, because of `outcome`; False if it was over or ending already."""


class _Branch:
    """How many calls of a branch's own are in flight, and the newest `exp` among their grants."""

    __slots__ = ("calls", "expires")

    def __init__(self) -> None:
        self.calls = 0
        self.expires = 0


class Live:
    """The calls in flight."""

    def __init__(self, reservation_ns: int) -> None:
        """Reservations are kept alive for `reservation_ns` from each look on."""
        self._flights: dict[bytes, set[Flight]] = {}  # by key of a branch or an ancestor
        self._branches: dict[bytes, _Branch] = {}  # those that have calls of their own
        self._all: set[Flight] = set()
        self._reservation_ns = reservation_ns

    def __len__(self) -> int:
        return len(self._all)

    def add(self, flight: Flight) -> None:
        """Take a call that was permitted; its grant extends other calls of the same branch."""
        grant = flight.permit.grant
        self._all.add(flight)
        for key in (grant.branch_key, *grant.path_keys):
            self._flights.setdefault(key, set()).add(flight)
        branch = self._branches.setdefault(grant.branch_key, _Branch())
        branch.calls += 1
        branch.expires = max(branch.expires, grant.claims.exp)

    def remove(self, flight: Flight) -> None:
        """Forget a call that is over."""
        grant = flight.permit.grant
        self._all.discard(flight)
        for key in (grant.branch_key, *grant.path_keys):
            flights = self._flights.get(key)
            if flights is not None:
                flights.discard(flight)
                if not flights:
                    del self._flights[key]
        branch = self._branches[grant.branch_key]
        branch.calls -= 1
        if not branch.calls:
            del self._branches[grant.branch_key]

    def cut(self, keys: Iterable[bytes]) -> int:
        """End the calls of these branches and of what is below them; return how many."""
        doomed: set[Flight] = set()
        for key in keys:
            doomed |= self._flights.get(key, set())
        return _end(doomed, Outcome.REVOKED)

    def cut_revoked(self) -> int:
        """End the calls whose permit has been revoked in any way; return how many."""
        return _end([flight for flight in self._all if flight.permit.revoked], Outcome.REVOKED)

    def end_all(self) -> int:
        """End every call, because the worker ends; return how many."""
        return _end(list(self._all), Outcome.CANCELLED)

    def sweep(self, now: float, now_boot_ns: int) -> int:
        """End calls past their branch's newest `exp` (wall clock, s) and extend reservations."""
        expired: list[Flight] = []
        for flight in self._all:
            if now >= self._branches[flight.permit.grant.branch_key].expires:
                expired.append(flight)
            elif now_boot_ns >= flight.extend_after_ns:
                flight.permit.extend(now_boot_ns + self._reservation_ns)
                flight.extend_after_ns = now_boot_ns + self._reservation_ns // 3
        return _end(expired, Outcome.EXPIRED)


def _end(flights: Iterable[Flight], outcome: Outcome) -> int:
    return sum([flight.end(outcome) for flight in flights])
