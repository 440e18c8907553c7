"""One level of the ledger: its quota, the credit charged to it, its leases and its queue.

An account decides which caps bound its level, and knows no other level. `memory_ledger` finds the
levels above a branch and decides who may draw.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from crewgate import limits
from crewgate.core.budget.ledger_lease import EMPTY, NOTHING, CreditTotals, LedgerLease
from crewgate.core.budget.ledger_protocol import (
    WINDOW_SECONDS_DAY,
    WINDOW_SECONDS_HOUR,
    CrewDrawLimits,
    WindowUsage,
    window_of,
)

UNBOUNDED = CrewDrawLimits()

TicketOf = tuple[bytes, str, bytes]  # branch, holder, boot


@dataclass(slots=True)
class TicketQueue:
    """The tickets that wait for credit of one level, in order of arrival.

    `waiting` maps a ticket to its need (micro-credits) and the time of its last draw (wall clock,
    seconds).
    """

    waiting: dict[TicketOf, tuple[int, float]] = field(default_factory=dict)

    def keep(self, ticket: TicketOf, need: int, now: float) -> None:
        """Add `ticket` at the end, or renew it at the place that it has."""
        self.waiting[ticket] = need, now

    def drop(self, ticket: TicketOf) -> None:
        """Remove `ticket`, if it waits."""
        self.waiting.pop(ticket, None)

    def reserved_ahead(self, ticket: TicketOf, now: float, reach: int) -> int:
        """Return the sum of the needs of earlier tickets; a need above `reach` does not count.

        Drops every ticket whose last draw is older than `limits.ticket_seconds`, or lies in the
        future because somebody set the clock back. A dropped ticket loses its place, never credit.
        """
        stale = [
            other
            for other, (_, asked) in self.waiting.items()
            if not 0 <= now - asked <= limits.ticket_seconds
        ]
        for other in stale:
            del self.waiting[other]
        needs = 0
        for other, (need, _) in self.waiting.items():
            if other == ticket:
                break
            needs += need if need <= reach else 0
        return needs


class SpendingCap(NamedTuple):
    """One cap of a level, and the micro-credits charged against it.

    `window` is the hour or day of a crew's allowance (`window_of`), and 0 for a quota.
    """

    charged: int
    cap: int
    window: int = 0

    @property
    def remaining(self) -> int:
        """The credit left under the cap; below zero after somebody lowered the cap."""
        return self.cap - self.charged


def _remaining(cap: SpendingCap) -> int:
    return cap.remaining


@dataclass(slots=True)
class Account:
    """The ledger's record of a branch with all branches below it.

    `path` holds the keys of the levels above, the crew first. `totals` count all leases at and
    below this level; `leases` are those of this branch alone, by holder and boot. `children` is the
    number of accounts directly below.
    """

    key: bytes
    path: tuple[bytes, ...]
    quota: int
    iat: int
    name: str = ""
    totals: CreditTotals = NOTHING
    leases: dict[tuple[str, bytes], LedgerLease] = field(default_factory=dict)
    queue: TicketQueue = field(default_factory=TicketQueue)
    children: int = 0

    def accept(self, quota: int, iat: int | None) -> None:
        """Let the newest grant govern the quota; at equal `iat`, the lower quota governs."""
        if iat is None or iat < self.iat:
            return
        if iat > self.iat or quota < self.quota:
            self.quota, self.iat = quota, iat

    def bounds(self) -> tuple[SpendingCap, ...]:
        """Return every cap on this level; the cap that holds for the longest time comes last."""
        return (SpendingCap(self.totals.charged, self.quota),)

    def tightest(self) -> SpendingCap:
        """Return the cap that leaves least."""
        return min(self.bounds(), key=_remaining)

    def reach(self, own_idle: int) -> int:
        """Return what would be left if all idle credit but `own_idle` came back."""
        return min(map(_remaining, self._reaches(own_idle)))

    def lacking(self, own_idle: int, need: int) -> SpendingCap:
        """Return the cap that leaves less than `need` even if all other idle credit came back.

        Of several such caps, the first that is itself below `need` counts: no wait helps there.
        Otherwise it is the cap that holds for the longest time.
        """
        found = [cap for cap in self._reaches(own_idle) if cap.remaining < need]
        return next((cap for cap in found if cap.cap < need), found[-1])

    def _reaches(self, own_idle: int) -> list[SpendingCap]:
        idle = self.totals.idle - own_idle
        return [cap._replace(charged=cap.charged - min(idle, cap.charged)) for cap in self.bounds()]

    def free(self, ticket: TicketOf, now: float) -> int:
        """Return what is left for `ticket` after the tickets before it."""
        return self.tightest().remaining - self.queue.reserved_ahead(ticket, now, self.reach(0))

    def windows(self) -> tuple[WindowUsage, WindowUsage]:
        """Return the hour and the day as last charged; empty for any account but a crew's."""
        return EMPTY, EMPTY

    def roll_windows(self, now: float) -> None:
        """Begin the hour and the day of `now`; only a crew's account has windows."""

    def draw(self, lease: LedgerLease, amount: int) -> None:
        """Charge the windows for a lease that grew by `amount`; only a crew's account has any."""

    def take_back(self, lease: LedgerLease, amount: int) -> None:
        """Refund the windows for a lease that gave `amount` back; only a crew's has any."""


@dataclass(slots=True)
class CrewAccount(Account):
    """The account of a crew: the topmost level, with the crew's allowance per hour and per day.

    Returned credit refunds the window in which the lease drew it, newest first. If that window is
    over, the refund does not help the present window. If the clock was ahead and somebody sets the
    clock back, draws go on charging the newest window that the account has seen: a crew can use the
    allowance of an hour early, and never twice.
    """

    allowance: CrewDrawLimits = UNBOUNDED
    hour: WindowUsage = EMPTY
    day: WindowUsage = EMPTY

    def bounds(self) -> tuple[SpendingCap, ...]:
        """Return the caps of the hour and of the day, then the quota."""
        hour, day = self.hour, self.day
        hourly_max, daily_max = self.allowance.hourly_max, self.allowance.daily_max
        return (
            SpendingCap(hour.charged, hourly_max, window_of(hour.number, is_day=False)),
            SpendingCap(day.charged, daily_max, window_of(day.number, is_day=True)),
            SpendingCap(self.totals.charged, self.quota),
        )

    def windows(self) -> tuple[WindowUsage, WindowUsage]:
        """Return the newest hour and day that the account has seen."""
        return self.hour, self.day

    def roll_windows(self, now: float) -> None:
        """Begin the hour and the day of `now` (wall clock, seconds), each if it is newer."""
        hour, day = int(now) // WINDOW_SECONDS_HOUR, int(now) // WINDOW_SECONDS_DAY
        if hour > self.hour.number:
            self.hour = WindowUsage(hour)
        if day > self.day.number:
            self.day = WindowUsage(day)

    def draw(self, lease: LedgerLease, amount: int) -> None:
        """Charge both windows, and note in the lease what it drew in them."""
        self.hour, lease.hour = _charge(self.hour, lease.hour, amount)
        self.day, lease.day = _charge(self.day, lease.day, amount)

    def take_back(self, lease: LedgerLease, amount: int) -> None:
        """Refund each window, at most what the lease drew in it."""
        self.hour, lease.hour = _refund(self.hour, lease.hour, amount)
        self.day, lease.day = _refund(self.day, lease.day, amount)


def _charge(crew: WindowUsage, lease: WindowUsage, amount: int) -> tuple[WindowUsage, WindowUsage]:
    held = lease.charged if lease.number == crew.number else 0
    return (
        WindowUsage(crew.number, crew.charged + amount),
        WindowUsage(crew.number, held + amount),
    )


def _refund(crew: WindowUsage, lease: WindowUsage, amount: int) -> tuple[WindowUsage, WindowUsage]:
    if lease.number != crew.number:
        return crew, lease
    part = min(amount, lease.charged)
    return (
        WindowUsage(crew.number, crew.charged - part),
        WindowUsage(lease.number, lease.charged - part),
    )
