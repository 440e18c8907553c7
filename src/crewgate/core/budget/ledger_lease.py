"""One lease: the credit that a holder has drawn for a branch, and how it counts on its levels.

A lease knows no level and no other lease.
"""

from dataclasses import dataclass
from typing import NamedTuple, Self

from crewgate.core.budget.ledger_protocol import (
    DrawGranted,
    DrawQueued,
    QuotaExhausted,
    ReportLeaseUsage,
    WindowUsage,
)
from crewgate.errors import InvalidLedgerOperationError


class CreditTotals(NamedTuple):
    """How many micro-credits leases have charged, and the parts of it that the ledger knows.

    `live` is the number of leases that still hold idle or reserved credit. `overrun` is the cost
    that tools stated beyond the reservations of their calls; no level is charged for it.
    """

    charged: int = 0
    settled: int = 0
    reserved: int = 0
    burned: int = 0
    live: int = 0
    overrun: int = 0

    @property
    def idle(self) -> int:
        """Leased credit that no call has spent or reserved as last reported: it can come back."""
        return self.charged - self.settled - self.reserved - self.burned

    def changed(self, before: Self, after: Self) -> "CreditTotals":
        """Return these totals with `before` replaced by `after`."""
        return CreditTotals(*(t - b + a for t, b, a in zip(self, before, after, strict=True)))


NOTHING = CreditTotals()
EMPTY = WindowUsage()


@dataclass(slots=True)
class LedgerLease:
    """The credit that one holder has drawn for one branch in one boot, as last reported.

    The ledger itself counts `granted` and `given_back`. The newest report (`report` is its number)
    brings `spent`, `reserved`, `lost` (its burned credit) and `overrun`. `seq` is the number of
    the last draw, and `reply` its answer. `hour` and `day` hold what the lease drew in the crew's
    windows.

    A burn sets `written_off` to all credit that is out. This credit counts as burned, except what
    the holder later reports as spent or reserved. Credit that comes back out of it is `void`: it
    stays burned. A holder that was only slow may draw again. `forgiven` is burned credit that an
    operator gave back to the levels; a report that it was not lost charges it again.

    Example: the holder drew 80 and reported 60 as spent. A burn writes 20 off. If the holder then
    reports 70 as spent, 10 move from burned to settled. If it gives 10 back, those stay burned.
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
    reply: DrawGranted | DrawQueued | QuotaExhausted | None = None
    report: int = -1
    hour: WindowUsage = EMPTY
    day: WindowUsage = EMPTY

    @property
    def totals(self) -> CreditTotals:
        """The totals of this lease, as its level and all levels above count them.

        A return of credit can overtake an older report, so no part counts more than `charged`.
        Spent credit reduces the written-off credit first.
        """
        charged = self.granted - self.given_back - self.forgiven
        settled = min(self.spent, charged)
        burned = max(0, min(self.missing - self.forgiven, charged - settled))
        reserved = min(self.reserved, charged - settled - burned)
        live = int(charged > settled + burned)
        return CreditTotals(charged, settled, reserved, burned, live, self.overrun)

    @property
    def missing(self) -> int:
        """The credit that is lost as last reported; `forgiven` may be a part of it."""
        out = self.granted - self.given_back
        settled = min(self.spent, out)
        missing = max(self.lost, self.void, self.written_off - settled - self.reserved)
        return min(missing, out - settled)

    def apply_report(self, report: ReportLeaseUsage) -> int:
        """Take over a report; return the forgiven credit that turned out not to be lost.

        The levels must charge that credit again. The lease does not forgive it a second time, even
        if a later report says that it was lost after all.
        """
        self.report = report.seq
        self.spent, self.reserved = report.spent, report.reserved
        self.lost, self.overrun = report.burned, report.overrun
        not_lost = max(0, self.forgiven - self.missing)
        self.forgiven -= not_lost
        return not_lost

    def write_off(self) -> None:
        """Write off all credit that is out, including what calls in flight had reserved."""
        self.written_off = self.granted - self.given_back
        self.reserved = 0

    def forgive(self) -> int:
        """Count the burned credit as given back, and return its amount.

        The operator asserts that the holder has not spent this credit and never will.
        """
        burned = self.totals.burned
        self.forgiven += burned
        return burned

    def take(self, total: int) -> int:
        """Note the holder's total of returned credit; return what goes back to the levels now.

        The part that a burn had written off does not go back: it becomes `void`. Raises
        InvalidLedgerOperationError if `total` is above the granted credit.
        """
        if total > self.granted:
            raise InvalidLedgerOperationError(
                f"the holder gave back more than the ledger granted: {total} of {self.granted} "
                "micro-credits"
            )
        new = max(0, total - self.given_back - self.void)
        charged = self.granted - self.given_back
        lost = max(0, self.written_off - min(self.spent, charged) - self.void)
        self.void += min(new, lost)
        returned = new - min(new, lost)
        self.given_back += returned
        self.forgiven = min(self.forgiven, self.granted - self.given_back)
        return returned
