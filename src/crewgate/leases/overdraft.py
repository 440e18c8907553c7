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
from crewgate._native.owner import OwnedTable
from crewgate.core.budget.ledger_protocol import Granted, Told
from crewgate.errors import LedgerError
from crewgate.leases.branch_opening import Status
from crewgate.leases.give_back import Returns
from crewgate.leases.lease_index import Holding, Holdings
from crewgate.leases.refill import Filling, Steps


class Lending:
    """The loans of one table; all that are owed together are at most `most` micro-credits."""

    def __init__(
        self,
        table: OwnedTable,
        holdings: Holdings,
        returns: Returns,
        filling: Filling,
        most: int,
    ) -> None:
        self._table = table
        self._holdings = holdings
        self._returns = returns
        self._filling = filling
        self.most = most
        self._owing: dict[bytes, Holding] = {}
        self._forsaken = 0  # what the ledger will not charge, whatever is asked

    def __repr__(self) -> str:
        return f"<Lending {self.owed} of {self.most}>"

    @property
    def owed(self) -> int:
        """Micro-credits that the ledger has not been told of."""
        return self._holdings.owed

    @property
    def debt(self) -> int:
        """The same without what was taken out of leases again."""
        return self._holdings.debt

    @property
    def owing(self) -> list[bytes]:
        """The branches that owe; some of very many."""
        return list(islice(self._owing, limits.repaid_branches_max))

    def lend(self, key: bytes, need: int) -> bool:
        """Bring a branch's lease to what a call needs; False if it is unknown, or for too much."""
        holding = self._holdings.get(key)
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
        self._owe(holding, holding.owed + missing)  # before: the table's word comes first
        self._table.lend(holding.number, missing)
        holding.granted += missing
        self._returns.granted(holding)
        return True

    def repay(self, holding: Holding) -> Steps:
        """Have the ledger charge what a branch owes; the table has that already.

        So no draw is pending there meanwhile: whoever came after a kill would be granted it again.
        LedgerError if it never will be charged.
        """
        amount = holding.owed
        sequence = self._table.begin_draw(holding.number, amount)
        self._table.refuse(holding.number, 0, 0, 0, 0)
        draw = self._filling.draw(holding, sequence, amount, 0)
        try:
            answer = yield structs.replace(draw, owed=True)
        except LedgerError as error:
            self._forsake(holding)
            raise LedgerError(f"{error}; {amount} micro-credits that it owes stay so") from error
        if not isinstance(answer, Granted):
            return Status.CONTENDED
        self._owe(holding, holding.owed - amount)
        if not holding.owed:
            self._returns.tell_anew(holding)
        return Status.GRANTED

    def take_up(self, leases: Mapping[bytes, Told]) -> None:
        """What the former life of the agent had lent. LedgerError if that was not so much."""
        found = {}
        for holding in self._holdings:
            told = leases.get(holding.key, Told())
            owed, kept = holding.granted - told.granted, holding.given_back - told.given_back
            found[holding.key] = owed, kept
        if sum(owed for owed, _ in found.values() if owed > 0) > self._table.lent:
            raise LedgerError(
                "the ledger knows of less than the table was granted: it is an older copy"
            )
        for holding in self._holdings:
            owed, kept = found[holding.key]
            self._note(holding, max(0, owed), kept)

    def _owe(self, holding: Holding, owed: int) -> None:
        """Owe so much; the table's word for all that is owed is never below the truth."""
        self._note(holding, owed, holding.kept)
        self._table.set_lent(self.owed + self._forsaken)

    def _note(self, holding: Holding, owed: int, kept: int) -> None:
        self._holdings.owe(holding, owed, kept if owed else 0)
        if owed:
            self._owing[holding.key] = holding
        else:
            self._owing.pop(holding.key, None)

    def _forsake(self, holding: Holding) -> None:
        """Ask no more for what is owed: the next life of the agent tries it once again."""
        self._forsaken += holding.owed
        self._note(holding, 0, 0)
