"""One level of the ledger: its quota, what was charged to it, and the leases and tickets it has.

Decides what bounds a level. Knows only itself: which levels a branch stands under, and who may
draw, is `accounts`' to know.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from crewgate import limits
from crewgate.core.budget.lease import EMPTY, NOTHING, Lease, LeaseTotals
from crewgate.core.budget.ledger_protocol import (
    WINDOW_SECONDS_DAY,
    WINDOW_SECONDS_HOUR,
    AllowanceWindow,
    CrewAllowance,
    window_of,
)

UNBOUNDED = CrewAllowance()

TicketOf = tuple[bytes, str, bytes]  # branch, holder, boot


@dataclass(slots=True)
class TicketQueue:
    """Who waits for credit of a level, in order of arrival."""

    waiting: dict[TicketOf, tuple[int, float]] = field(default_factory=dict)

    def keep(self, ticket: TicketOf, need: int, now: float) -> None:
        """Take a place, or keep the one that `ticket` has."""
        self.waiting[ticket] = need, now

    def drop(self, ticket: TicketOf) -> None:
        """Served, refused or gone."""
        self.waiting.pop(ticket, None)

    def reserved_ahead(self, ticket: TicketOf, now: float, reach: int) -> int:
        """What must be left for those who came before and can be met out of `reach`.

        A ticket that nobody asked for lately is dropped, also when the clock was set back: it
        costs a place in the queue, never credit.
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
    """One cap of a level and what counts against it. `window` says of which hour or day it is."""

    charged: int
    cap: int
    window: int = 0

    @property
    def remaining(self) -> int:
        """Below zero after a cap was lowered."""
        return self.cap - self.charged


def _remaining(bound: SpendingCap) -> int:
    return bound.remaining


@dataclass(slots=True)
class Account:
    """A branch and all below it. `path`: its ancestors' keys, the crew first."""

    key: bytes
    path: tuple[bytes, ...]
    quota: int
    iat: int
    name: str = ""
    totals: LeaseTotals = NOTHING
    leases: dict[tuple[str, bytes], Lease] = field(default_factory=dict)
    queue: TicketQueue = field(default_factory=TicketQueue)
    children: int = 0

    def accept(self, quota: int, iat: int | None) -> None:
        """Let the newest grant govern; at equal `iat` the lower quota."""
        if iat is None or iat < self.iat:
            return
        if iat > self.iat or quota < self.quota:
            self.quota, self.iat = quota, iat

    def bounds(self) -> tuple[SpendingCap, ...]:
        """Everything that bounds what may be charged here; what holds longest comes last."""
        return (SpendingCap(self.totals.charged, self.quota),)

    def tightest(self) -> SpendingCap:
        """The bound that leaves least."""
        return min(self.bounds(), key=_remaining)

    def reach(self, own: int) -> int:
        """What would be left if all idle credit but `own` came back."""
        return min(map(_remaining, self._reaches(own)))

    def lacking(self, own: int, need: int) -> SpendingCap:
        """By which bound there would be less than `need` all the same, for the longest time."""
        found = [bound for bound in self._reaches(own) if bound.remaining < need]
        return next((bound for bound in found if bound.cap < need), found[-1])

    def _reaches(self, own: int) -> list[SpendingCap]:
        idle = self.totals.idle - own
        return [
            bound._replace(charged=bound.charged - min(idle, bound.charged))
            for bound in self.bounds()
        ]

    def free(self, ticket: TicketOf, now: float) -> int:
        """What is left for `ticket` when those before it in the queue are served."""
        return self.tightest().remaining - self.queue.reserved_ahead(ticket, now, self.reach(0))

    def windows(self) -> tuple[AllowanceWindow, AllowanceWindow]:
        """The hour's and the day's; only a crew's account knows them."""
        return EMPTY, EMPTY

    def roll_windows(self, now: float) -> None:
        """Begin a newer window; only a crew has any."""

    def draw(self, lease: Lease, amount: int) -> None:
        """`lease` below this level grew by `amount`; only windows care, totals are kept apart."""

    def take_back(self, lease: Lease, amount: int) -> None:
        """`lease` below this level gave `amount` back; only windows care."""


@dataclass(slots=True)
class CrewAccount(Account):
    """The topmost level, with what the crew may draw in an hour and in a day.

    Credit given back returns to the window that it was drawn in, newest first; to an older one it
    is of no use. A clock set back charges the newest window that was seen: an hour's allowance
    may be used early, never twice.
    """

    allowance: CrewAllowance = UNBOUNDED
    hour: AllowanceWindow = EMPTY
    day: AllowanceWindow = EMPTY

    def bounds(self) -> tuple[SpendingCap, ...]:
        """The hour's allowance, the day's, and the quota."""
        return (
            SpendingCap(
                self.hour.charged,
                self.allowance.hourly_max,
                window_of(self.hour.number, is_day=False),
            ),
            SpendingCap(
                self.day.charged, self.allowance.daily_max, window_of(self.day.number, is_day=True)
            ),
            SpendingCap(self.totals.charged, self.quota),
        )

    def windows(self) -> tuple[AllowanceWindow, AllowanceWindow]:
        """The newest hour and day that were seen."""
        return self.hour, self.day

    def roll_windows(self, now: float) -> None:
        """Begin the hour and the day of `now` (wall clock, seconds) if they are newer."""
        hour, day = int(now) // WINDOW_SECONDS_HOUR, int(now) // WINDOW_SECONDS_DAY
        if hour > self.hour.number:
            self.hour = AllowanceWindow(hour)
        if day > self.day.number:
            self.day = AllowanceWindow(day)

    def draw(self, lease: Lease, amount: int) -> None:
        """Charge both windows, and mark the lease with what it drew in them."""
        self.hour, lease.hour = _charge(self.hour, lease.hour, amount)
        self.day, lease.day = _charge(self.day, lease.day, amount)

    def take_back(self, lease: Lease, amount: int) -> None:
        """Refund each window as far as the lease drew in it."""
        self.hour, lease.hour = _refund(self.hour, lease.hour, amount)
        self.day, lease.day = _refund(self.day, lease.day, amount)


def _charge(
    crew: AllowanceWindow, lease: AllowanceWindow, amount: int
) -> tuple[AllowanceWindow, AllowanceWindow]:
    held = lease.charged if lease.number == crew.number else 0
    return (
        AllowanceWindow(crew.number, crew.charged + amount),
        AllowanceWindow(crew.number, held + amount),
    )


def _refund(
    crew: AllowanceWindow, lease: AllowanceWindow, amount: int
) -> tuple[AllowanceWindow, AllowanceWindow]:
    if lease.number != crew.number:
        return crew, lease
    part = min(amount, lease.charged)
    return (
        AllowanceWindow(crew.number, crew.charged - part),
        AllowanceWindow(lease.number, lease.charged - part),
    )
