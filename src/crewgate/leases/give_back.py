"""Credit on its way back: taken out of leases in the table, given back to the ledger, told truly.

Decides which leases a recall takes from and which are idle. Never draws. Every step is safe to be
killed after: the table says how much was ever given back, and a restarted agent says it again.
"""

from collections.abc import Callable

from crewgate import limits
from crewgate._native.records import BranchRecord
from crewgate._native.table_owner import OwnedTable
from crewgate.core.budget.ledger_protocol import CloseBranch, LeaseReport, ReturnCredit, SettleLease
from crewgate.leases.lease_index import LeaseIndex, LeaseRecord

_UNKNOWN = -1, -1, -1
SubmitOperation = Callable[[ReturnCredit | SettleLease | CloseBranch], None]


class LeaseReturns:
    """What one machine gives back and reports; `holder` is its name in the ledger."""

    def __init__(
        self, table: OwnedTable, tell: SubmitOperation, index: LeaseIndex, holder: str
    ) -> None:
        self._table = table
        self._log = tell
        self._index = index
        self._holder = holder
        self._reports = 0
        # By level, of a recall for nothing: the credit generation, and all that was held loosely.
        self._barren: dict[bytes, tuple[int, int]] = {}
        self._next = 0  # the record at which the next look begins

    def recall_for(self, level: bytes, wanted: int, own: LeaseRecord, now_boot_ns: int) -> bool:
        """Take up to `wanted` unreserved credit out of the leases at and below `level`.

        `own` keeps what it has: it draws for what is missing besides. Every lease that was
        emptied is reported, so that the ledger knows what can still come back. False if nothing
        came of it: asking the ledger again would bring the same answer.

        A recall that found nothing is not repeated before credit came back somewhere (the table's
        credit generation) or a lease below grew: a crew at the end of its hour may have ten
        thousand leases, and as many branches that ask. An upper bound that calls in flight held may
        be spent to the last, and no credit comes back: then the sum of those has changed.
        """
        available, news = self._report_due(own, now_boot_ns)
        bounds = self._table.loose()
        state = self._table.credit_generation, sum(bounds.values())
        if self._barren.get(level) == state:
            return news
        barren = not available
        for record in self._index.leases_below(level):
            if record is own:
                continue
            if wanted <= 0:
                break
            taken = self.take(record, wanted)
            wanted -= taken
            news = news or taken > 0
            barren = barren and not taken
            # What was left of `wanted` found no more: the lease has nothing idle now.
            emptied = wanted > 0
            if emptied and record.number in bounds:
                news = self._report_due(record, now_boot_ns)[1] or news
            elif emptied:
                news = self._submit(record, (0, 0), now_boot_ns) or news
        if barren:
            self._barren[level] = state
        return news

    def granted(self, record: LeaseRecord) -> None:
        """The lease grew: a recall at a level above it may find something again."""
        for level in (*record.path, record.key):
            self._barren.pop(level, None)
        self._index.lease(record)

    def forgotten(self, key: bytes) -> None:
        """The record of a branch was reclaimed."""
        self._barren.pop(key, None)

    def reclaimed(self, record: LeaseRecord, consumed: int, now_boot_ns: int) -> None:
        """The table has forgotten the branch; nothing of its lease is anybody's any more.

        Nobody had a grant for it since it was last looked at, so what was not spent then is lost.
        """
        self.forgotten(record.key)
        self.returned(record, record.leased - consumed)
        spent = min(record.spent, consumed)
        if (spent, 0, consumed - spent) != record.told:
            lost = consumed - spent
            self._report(record.key, (spent, 0, lost, record.overrun), now_boot_ns)

    def take_up(self, leases: dict[bytes, LeaseReport], now_boot_ns: int) -> None:
        """Say again what the former life of the agent may not have told of these leases.

        One that the table knows nothing of was never given to it, if nothing was ever said of it:
        the agent was killed before. Else it is lost: it was reclaimed, and that was not told.
        """
        for key, told in leases.items():
            record = self._index.get(key)
            if record is None:
                lost = told.granted - told.given_back - told.spent
                if not told.reported:
                    returned = told.given_back + told.idle
                    self._log(ReturnCredit(key, self._holder, self._table.life, returned))
                elif lost > told.burned:
                    self._report(key, (told.spent, 0, lost, told.overrun), now_boot_ns)
                continue
            if told.given_back < record.given_back and not record.overdrawn:
                self._log(ReturnCredit(key, self._holder, self._table.life, record.given_back))
            record.overrun = told.overrun
            record.told = _UNKNOWN  # what was in flight then is told anew

    def report_again(self, record: LeaseRecord) -> None:
        """The ledger has heard of all that was granted: what became of it is told again."""
        record.told = _UNKNOWN
        if record.given_back:
            given = record.given_back
            self._log(ReturnCredit(record.key, self._holder, self._table.life, given))

    def overran(self, record: LeaseRecord, amount: int, now_boot_ns: int) -> None:
        """An answer stated so much beyond its bound: it is told with all the rest."""
        record.overrun = min(record.overrun + amount, limits.quota_micro_max)
        record.told = _UNKNOWN
        self._report_due(record, now_boot_ns)

    def recall(self, level: bytes, wanted: int) -> int:
        """Up to `wanted` unreserved credit out of the leases at and below `level`."""
        left = wanted
        for record in self._index.leases_below(level):
            left -= self.take(record, left)
        return wanted - left

    def surrender(self, level: bytes, now_boot_ns: int) -> int:
        """All unreserved credit at and below `level`, which another machine wants; how much.

        Every lease is told of, so that the ledger knows what will not come back.
        """
        returned = 0
        for record in self._index.leases_below(level):
            # Told first: what of a lease was written off is spent first, and the rest returns.
            self._report_due(record, now_boot_ns)
            returned += self.take(record, limits.quota_micro_max)
        return returned

    def take(self, record: LeaseRecord, most: int) -> int:
        """Up to `most` out of one lease and into the ledger."""
        taken = self._table.take_back(record.number, most)
        self.returned(record, taken)
        return taken

    def returned(self, record: LeaseRecord, amount: int) -> None:
        """`amount` was taken out of the lease; tell the ledger the total."""
        record.given_back += amount
        if record.overdrawn:  # the ledger does not know yet what is given back
            self._index.set_overdrawn(record, record.overdrawn, record.kept + amount)
        elif amount:
            self._log(ReturnCredit(record.key, self._holder, self._table.life, record.given_back))

    def give_back_idle(self, now: float, now_boot_ns: int) -> int:
        """Look at the next records: report them, give back what lay idle since the last look.

        Returns the credit given back. Also finds leases that got credit back by a refund after
        they had been seen empty.
        """
        if self._next > self._index.highest:
            self._next = 0
        records = self._table.scan(self._next, limits.leases_scanned_per_look)
        self._next += limits.leases_scanned_per_look
        return sum(self._look_at(record, now, now_boot_ns) for record in records if record.parents)

    def _look_at(self, record: BranchRecord, now: float, now_boot_ns: int) -> int:
        holding = self._index.get(record.key)
        if holding is None:
            return 0
        self._report_as(holding, record, now_boot_ns)
        seen, holding.seen = holding.seen, (record.granted, record.available)
        if not record.available and not record.reserved:
            grant_ends = record.expires - limits.branch_memory_seconds
            ended = now > grant_ends + limits.leeway_seconds or not holding.leased
            self._index.rest(holding, ended=ended)
            return 0
        self._index.lease(holding)
        idle = seen == holding.seen or holding.closed
        return self.take(holding, record.available) if idle else 0

    def _report_due(self, holding: LeaseRecord, now_boot_ns: int) -> tuple[int, bool]:
        """What the lease has available, and whether the ledger had been told otherwise of it."""
        record = self._table.branch(holding.number)
        if record is None:
            return 0, False
        return record.available, self._report_as(holding, record, now_boot_ns)

    def _report_as(self, holding: LeaseRecord, record: BranchRecord, now_boot_ns: int) -> bool:
        holding.spent, holding.burned = record.settled, record.burned
        return self._submit(holding, (record.available, record.loose), now_boot_ns)

    def _submit(self, record: LeaseRecord, free: tuple[int, int], now_boot_ns: int) -> bool:
        """Report what became of the lease; True if the ledger had been told otherwise.

        `free` is what it has available, and what calls in flight hold as upper bounds: both may
        come back. What is neither that, spent nor burned is in flight, or was spent since the last
        look, which counts the same. What is burned is certain and stays so, while a call can be
        settled before it is seen to have left the lease.
        """
        gone = max(0, record.leased - sum(free))
        burned = min(record.burned, gone)
        spent = min(record.spent, gone - burned)
        told = spent, gone - spent - burned, burned
        if told == record.told:
            return False
        record.told = told
        self._report(record.key, (*told, record.overrun), now_boot_ns)
        return True

    def _report(self, key: bytes, told: tuple[int, int, int, int], now_boot_ns: int) -> None:
        self._reports = max(self._reports + 1, now_boot_ns)
        self._log(SettleLease(key, self._holder, self._table.life, self._reports, *told))
