"""What one holder drew for one branch, and how its story counts: settled, reserved, burned, idle.

Knows no level and no other lease.
"""

from dataclasses import dataclass
from typing import NamedTuple, Self

from crewgate.core.budget.ledger_protocol import (
    AllowanceWindow,
    DrawGranted,
    QuotaExhausted,
    RecallTicket,
    SettleLease,
)
from crewgate.errors import LedgerError


class LeaseTotals(NamedTuple):
    """Credit charged, and what is known of it; `live` leases still hold idle or reserved credit."""

    charged: int = 0
    settled: int = 0
    reserved: int = 0
    burned: int = 0
    live: int = 0
    overrun: int = 0

    @property
    def idle(self) -> int:
        """Leased and, as last reported, neither spent nor reserved: it can come back."""
        return self.charged - self.settled - self.reserved - self.burned

    def changed(self, before: Self, after: Self) -> "LeaseTotals":
        """These totals when one part of them went from `before` to `after`."""
        return LeaseTotals(*(t - b + a for t, b, a in zip(self, before, after, strict=True)))


NOTHING = LeaseTotals()
EMPTY = AllowanceWindow()


@dataclass(slots=True)
class Lease:
    """What one holder drew for one branch in one boot, as far as it has told.

    Written off, all that was charged so far (`written_off`) counts as burned, but for what is told
    later to be spent, or reserved by calls in flight. What comes back of it is `void`: burned for
    good. A holder that was only slow draws on. What an operator gives back of the burned is
    `forgiven`, until it is told that it was not lost.
    """

    granted: int = 0
    given_back: int = 0
    spent: int = 0
    reserved: int = 0
    lost: int = 0
    overrun: int = 0
    written_off: int = 0
    void: int = 0
    forgiven: int = 0
    seq: int = 0
    reply: DrawGranted | RecallTicket | QuotaExhausted | None = None
    report: int = -1
    hour: AllowanceWindow = EMPTY
    day: AllowanceWindow = EMPTY

    @property
    def totals(self) -> LeaseTotals:
        """How the lease counts on its level and on all above.

        A report can be older than a give-back that overtook it; it never counts more than what is
        charged. What is spent counts against what was written off first.
        """
        charged = self.granted - self.given_back - self.forgiven
        settled = min(self.spent, charged)
        burned = max(0, min(self.missing - self.forgiven, charged - settled))
        reserved = min(self.reserved, charged - settled - burned)
        live = int(charged > settled + burned)
        return LeaseTotals(charged, settled, reserved, burned, live, self.overrun)

    @property
    def missing(self) -> int:
        """What nobody has any more, as far as was told; some of it may be forgiven."""
        out = self.granted - self.given_back
        settled = min(self.spent, out)
        missing = max(self.lost, self.void, self.written_off - settled - self.reserved)
        return min(missing, out - settled)

    def apply_report(self, report: SettleLease) -> int:
        """Let it count; what of the forgiven is not missing, and charged again.

        That is for good: what may be lost of it later, nobody has forgiven.
        """
        self.report = report.seq
        self.spent, self.reserved = report.spent, report.reserved
        self.lost, self.overrun = report.burned, report.overrun
        recanted = max(0, self.forgiven - self.missing)
        self.forgiven -= recanted
        return recanted

    def write_off(self) -> None:
        """Nobody is to wait any more for what is out, nor for the calls that were in flight."""
        self.written_off = self.granted - self.given_back
        self.reserved = 0

    def forgive(self) -> int:
        """Give back what is burned; how much that was. Whoever had it should never spend it yet."""
        burned = self.totals.burned
        self.forgiven += burned
        return burned

    def take(self, told: int) -> int:
        """`told` is the total given back; what of it is news, and returns to the levels.

        LedgerError for more than was granted.
        """
        if told > self.granted:
            raise LedgerError("more was given back than had been granted")
        news = max(0, told - self.given_back - self.void)
        charged = self.granted - self.given_back
        lost = max(0, self.written_off - min(self.spent, charged) - self.void)
        self.void += min(news, lost)
        returned = news - min(news, lost)
        self.given_back += returned
        self.forgiven = min(self.forgiven, self.granted - self.given_back)
        return returned
