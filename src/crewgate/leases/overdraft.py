"""Credit that a machine lends itself while the ledger is away, and owes it from then on.

Only where the operator has chosen that calls should rather go on than budgets hold ([ledger]
`away`). What is lent is in the table at once and in the ledger as soon as that answers, whatever is
left there then; until then nothing of it is given back. What is owed needs no memory of its own: it
is what the table was granted and the ledger does not know.
"""

from collections.abc import Mapping
from itertools import islice

from msgspec import structs

from crewgate import limits
from crewgate._native.table_owner import OwnedTable
from crewgate.core.budget.ledger_protocol import DrawGranted, LeaseReport
from crewgate.errors import LedgerError
from crewgate.leases.branch_opening import DrawResult
from crewgate.leases.give_back import LeaseReturns
from crewgate.leases.lease_index import LeaseIndex, LeaseRecord
from crewgate.leases.refill import LeaseRefill, LedgerCalls


class Overdraft:
    """The loans of one table; all that are owed together are at most `most` micro-credits."""

    def __init__(
        self,
        table: OwnedTable,
        index: LeaseIndex,
        returns: LeaseReturns,
        filling: LeaseRefill,
        most: int,
    ) -> None:
        self._table = table
        self._index = index
        self._returns = returns
        self._refill = filling
        self.most = most
        self._owing: dict[bytes, LeaseRecord] = {}
        self._forsaken = 0  # what the ledger will not charge, whatever is asked

    def __repr__(self) -> str:
        return f"<Overdraft {self.overdrawn} of {self.most}>"

    @property
    def overdrawn(self) -> int:
        """Micro-credits that the ledger has not been told of."""
        return self._index.overdrawn

    @property
    def debt(self) -> int:
        """The same without what was taken out of leases again."""
        return self._index.debt

    @property
    def owing(self) -> list[bytes]:
        """The branches that owe; some of very many."""
        return list(islice(self._owing, limits.repaid_branches_max))

    def overdraw(self, key: bytes, need: int) -> bool:
        """Bring a branch's lease to what a call needs; False if it is unknown, or for too much."""
        holding = self._index.get(key)
        record = self._table.branch(holding.number) if holding is not None else None
        if holding is None or record is None or holding.closed or not holding.path:
            return False
        missing = need - record.available
        # With what a draw under way may still bring, it must fit the lease.
        out = record.granted - record.given_back - record.settled + holding.asked
        if missing <= 0:
            return True
        if missing > self.most - self.debt or missing + out > limits.lease_micro_max:
            return False
        self._set_overdrawn(
            holding, holding.overdrawn + missing
        )  # before: the table's word comes first
        self._table.lend(holding.number, missing)
        holding.granted += missing
        self._returns.granted(holding)
        return True

    def settle(self, record: LeaseRecord) -> LedgerCalls:
        """Have the ledger charge what a branch owes; the table has that already.

        So no draw is pending there meanwhile: whoever came after a kill would be granted it again.
        LedgerError if it never will be charged.
        """
        amount = record.overdrawn
        sequence = self._table.begin_draw(record.number, amount)
        self._table.refuse(record.number, 0, 0, 0, 0)
        draw = self._refill.draw(record, sequence, amount, 0)
        try:
            answer = yield structs.replace(draw, owed=True)
        except LedgerError as error:
            self._write_off(record)
            raise LedgerError(f"{error}; {amount} micro-credits that it owes stay so") from error
        if not isinstance(answer, DrawGranted):
            return DrawResult.CONTENDED
        self._set_overdrawn(record, record.overdrawn - amount)
        if not record.overdrawn:
            self._returns.report_again(record)
        return DrawResult.GRANTED

    def take_up(self, leases: Mapping[bytes, LeaseReport]) -> None:
        """What the former life of the agent had lent. LedgerError if that was not so much."""
        found = {}
        for record in self._index:
            told = leases.get(record.key, LeaseReport())
            overdrawn, kept = record.granted - told.granted, record.given_back - told.given_back
            found[record.key] = overdrawn, kept
        if sum(overdrawn for overdrawn, _ in found.values() if overdrawn > 0) > self._table.lent:
            raise LedgerError(
                "the ledger knows of less than the table was granted: it is an older copy"
            )
        for record in self._index:
            overdrawn, kept = found[record.key]
            self._note(record, max(0, overdrawn), kept)

    def _set_overdrawn(self, record: LeaseRecord, owed: int) -> None:
        """Owe so much; the table's word for all that is owed is never below the truth."""
        self._note(record, owed, record.kept)
        self._table.set_lent(self.overdrawn + self._forsaken)

    def _note(self, record: LeaseRecord, owed: int, kept: int) -> None:
        self._index.set_overdrawn(record, owed, kept if owed else 0)
        if owed:
            self._owing[record.key] = record
        else:
            self._owing.pop(record.key, None)

    def _write_off(self, record: LeaseRecord) -> None:
        """Ask no more for what is owed: the next life of the agent tries it once again."""
        self._forsaken += record.overdrawn
        self._note(record, 0, 0)
