"""Takes credit out of leases in the table, gives it back to the ledger, and reports leases.

Decides from which leases a recall takes credit, and which leases are idle. Never draws. A kill
after any step loses nothing: credit leaves the lease in the table first, the table keeps the total
that was ever given back, and a restarted agent sends this total again.
"""

from collections.abc import Callable

from crewgate import limits
from crewgate._native.records import BranchRecord
from crewgate._native.table_owner import OwnedTable
from crewgate.core.budget.ledger_protocol import (
    WINDOW_SECONDS_HOUR,
    CloseBranch,
    LeaseUsage,
    ReportLeaseUsage,
    ReturnCredit,
)
from crewgate.leases.lease_index import LeaseIndex, LeaseRecord

_UNKNOWN = -1, -1, -1
_IDLE_NS = round(limits.lease_idle_seconds * 1e9)
SubmitOperation = Callable[[ReturnCredit | ReportLeaseUsage | CloseBranch], None]


class LeaseReturns:
    """The returns and reports of one machine, whose name in the ledger is `holder`.

    `submit` takes the operations in order; none of them has an answer.
    """

    def __init__(
        self, table: OwnedTable, submit: SubmitOperation, index: LeaseIndex, holder: str
    ) -> None:
        self._table = table
        self._submit = submit
        self._index = index
        self._holder = holder
        # The keys of the crews with a bound per hour or per day.
        self.windowed_crews: frozenset[bytes] = frozenset()
        self._last_report = 0
        # By level, for a recall that found nothing: the credit generation of the table, and the sum
        # of the upper bounds that calls held.
        self._barren: dict[bytes, tuple[int, int]] = {}
        self._scanned = 0  # records of the present pass over the table

    def recall_for(self, level: bytes, wanted: int, own: LeaseRecord, now_boot_ns: int) -> bool:
        """Take up to `wanted` unreserved credit out of the leases at and below `level`.

        The lease `own` keeps its credit, since its draw is for what is missing on top. Every
        emptied lease is reported, so that the ledger knows what can still come back. Returns False
        if the ledger got nothing new: it would repeat its answer.

        After a recall that found nothing, the next one looks again only if credit came back
        somewhere (the table's credit generation) or a lease below grew: a crew at the end of its
        hour may have ten thousand leases, and as many branches that ask. Calls may also spend all
        of an upper bound that they held, so that no credit comes back. Then the sum of these bounds
        has changed.
        """
        available, has_changed = self._report_due(own, now_boot_ns)
        bounds = self._table.loose()
        state = self._table.credit_generation, sum(bounds.values())
        if self._barren.get(level) == state:
            return has_changed
        barren = not available
        for record in self._index.leases_below(level):
            if record is own:
                continue
            if wanted <= 0:
                break
            taken = self.take(record, wanted)
            wanted -= taken
            has_changed = has_changed or taken > 0
            barren = barren and not taken
            # If `wanted` is not yet met, the lease has no idle credit left.
            emptied = wanted > 0
            if emptied and record.number in bounds:
                has_changed = self._report_due(record, now_boot_ns)[1] or has_changed
            elif emptied:
                has_changed = self._report_free(record, (0, 0), now_boot_ns) or has_changed
        if barren:
            self._barren[level] = state
        return has_changed

    def granted(self, record: LeaseRecord) -> None:
        """Note that a lease grew: a recall at its branch or above may find credit again."""
        for level in (*record.path, record.key):
            self._barren.pop(level, None)
        self._index.lease(record)

    def reclaimed(self, record: LeaseRecord, consumed: int, now_boot_ns: int) -> None:
        """Give back and report the whole lease of a branch that the table has forgotten.

        No grant of the branch was valid since the last scan of its record, so consumed credit that
        was not spent by then is lost.
        """
        self._barren.pop(record.key, None)
        self.returned(record, record.leased - consumed)
        spent = min(record.spent, consumed)
        lost = consumed - spent
        if (spent, 0, lost) != record.reported:
            self._settle(record.key, (spent, 0, lost, record.overrun), now_boot_ns)

    def take_up(self, leases: dict[bytes, LeaseUsage], now_boot_ns: int) -> None:
        """Send the totals of leases again that the ledger may not have from an earlier agent.

        `leases` are this holder's leases in the ledger. For a lease without a record in the table:
        if the holder never reported it, the table never received its credit, because the agent was
        killed before: give the idle credit back. Otherwise the table reclaimed its record and the
        report of that was lost: report the unspent credit as burned.
        """
        for key, report in leases.items():
            record = self._index.get(key)
            if record is None:
                lost = report.granted - report.given_back - report.spent
                if not report.reported:
                    self._send_return(key, report.given_back + report.idle)
                elif lost > report.burned:
                    self._settle(key, (report.spent, 0, lost, report.overrun), now_boot_ns)
                continue
            if report.given_back < record.given_back and not record.overdrawn:
                self._send_return(key, record.given_back)
            record.overrun = report.overrun
            # Calls that were in flight then may have ended, so the next scan reports the lease.
            record.reported = _UNKNOWN

    def report_again(self, record: LeaseRecord) -> None:
        """Send the totals of a lease, now that the ledger knows all credit granted to it."""
        record.reported = _UNKNOWN
        if record.given_back:
            self._send_return(record.key, record.given_back)

    def overran(self, record: LeaseRecord, amount: int, now_boot_ns: int) -> None:
        """Report that a tool stated `amount` beyond the reservation of its call."""
        record.overrun = min(record.overrun + amount, limits.quota_micro_max)
        record.reported = _UNKNOWN
        self._report_due(record, now_boot_ns)

    def recall(self, level: bytes, wanted: int) -> int:
        """Give back up to `wanted` unreserved credit of the leases at and below `level`.

        Returns the amount.
        """
        left = wanted
        for record in self._index.leases_below(level):
            left -= self.take(record, left)
        return wanted - left

    def surrender(self, level: bytes, now_boot_ns: int) -> int:
        """Give back all unreserved credit at and below `level`; return the amount.

        Reports every lease, so that the ledger knows what will not come back.
        """
        returned = 0
        for record in self._index.leases_below(level):
            # The report goes first: if the ledger has written the lease off, spent credit reduces
            # the written-off part, and the rest returns.
            self._report_due(record, now_boot_ns)
            returned += self.take(record, limits.quota_micro_max)
        return returned

    def take(self, record: LeaseRecord, amount_max: int) -> int:
        """Take up to `amount_max` out of one lease, give it back, and return how much it was."""
        taken = self._table.take_back(record.number, amount_max)
        self.returned(record, taken)
        return taken

    def returned(self, record: LeaseRecord, amount: int) -> None:
        """Count `amount` taken out of the lease, and send the ledger the new total.

        While the lease is overdrawn, the total is withheld: the ledger does not know yet that all
        of this credit was granted.
        """
        record.given_back += amount
        if record.overdrawn:
            self._index.set_overdrawn(record, record.overdrawn, record.withheld + amount)
        elif amount:
            self._send_return(record.key, record.given_back)

    def _send_return(self, key: bytes, total: int) -> None:
        self._submit(ReturnCredit(key, self._holder, self._table.life, total))

    def give_back_idle(self, now: float, now_boot_ns: int) -> int:
        """Scan the next records: report them, and give back what lay idle for too long.

        Returns the amount. Also finds leases that a refund filled after a scan had found them
        empty.
        """
        used = self._index.highest + 1
        count = min(limits.leases_scanned_per_look, used - self._scanned)
        records = self._table.scan(self._scanned, count) if count else []
        self._scanned = 0 if self._scanned + count == used else self._scanned + count
        return sum(
            self._give_back(record, now, now_boot_ns) for record in records if record.parents
        )

    def _give_back(self, record: BranchRecord, now: float, now_boot_ns: int) -> int:
        lease = self._index.get(record.key)
        if lease is None:
            return 0
        self._report_record(lease, record, now_boot_ns)
        seen = record.granted, record.available
        is_unchanged = seen == lease.seen
        if not is_unchanged:
            lease.seen, lease.seen_ns = seen, now_boot_ns
        grant_ends = record.expires - limits.branch_memory_seconds
        is_over = now > grant_ends + limits.leeway_seconds
        if not record.available and not record.reserved:
            self._index.rest(lease, ended=is_over or not lease.leased)
            return 0
        self._index.lease(lease)
        is_kept = now_boot_ns - lease.seen_ns < _IDLE_NS and not is_over
        is_idle = is_unchanged and not (is_kept and self._outlasts(lease, now))
        return self.take(lease, record.available) if is_idle or lease.closed else 0

    def _outlasts(self, lease: LeaseRecord, now: float) -> bool:
        """Return whether the lease may stay idle for as long as others.

        A crew with a bound per hour or per day gets back what lies idle before the hour ends:
        calls of the next hour must not spend credit that was drawn in this one.
        """
        left = WINDOW_SECONDS_HOUR - now % WINDOW_SECONDS_HOUR
        return left > limits.lease_idle_seconds or lease.path[0] not in self.windowed_crews

    def _report_due(self, lease: LeaseRecord, now_boot_ns: int) -> tuple[int, bool]:
        """Report the lease; return what it has available, and whether the ledger got a change."""
        record = self._table.branch(lease.number)
        if record is None:
            return 0, False
        return record.available, self._report_record(lease, record, now_boot_ns)

    def _report_record(self, lease: LeaseRecord, record: BranchRecord, now_boot_ns: int) -> bool:
        lease.spent, lease.burned = record.settled, record.burned
        return self._report_free(lease, (record.available, record.loose), now_boot_ns)

    def _report_free(self, lease: LeaseRecord, free: tuple[int, int], now_boot_ns: int) -> bool:
        """Report what became of the lease, unless the ledger has just that; return whether it sent.

        `free` is the available credit, and the credit that calls in flight hold as upper bounds:
        both may come back. Leased credit that is neither free, spent nor burned is in flight, or
        was spent since the last scan: the report counts both as reserved. Burned credit is certain
        and stays burned, while a call can be settled before this agent sees that its credit has
        left the lease. So burned credit counts before spent credit.
        """
        gone = max(0, lease.leased - sum(free))
        burned = min(lease.burned, gone)
        spent = min(lease.spent, gone - burned)
        report = spent, gone - spent - burned, burned
        if report == lease.reported:
            return False
        lease.reported = report
        self._settle(lease.key, (*report, lease.overrun), now_boot_ns)
        return True

    def _settle(self, key: bytes, totals: tuple[int, int, int, int], now_boot_ns: int) -> None:
        # The boot clock as number keeps a restarted agent's reports above those before it.
        self._last_report = max(self._last_report + 1, now_boot_ns)
        self._submit(
            ReportLeaseUsage(key, self._holder, self._table.life, self._last_report, *totals)
        )
