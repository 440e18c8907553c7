"""Credit that a machine lends itself while the ledger is away, and owes it from then on.

Only where the operator has chosen that calls should rather go on than budgets hold ([ledger]
`away`). What is lent is in the table at once and in the ledger as soon as that answers, whatever is
left there then; until then nothing of it is given back. What is owed needs no memory of its own: it
is what the table was granted and the ledger does not know.
"""

from collections.abc import Mapping

from msgspec import structs

from crewgate import limits
from crewgate._native.owner import OwnedTable
from crewgate.core.ledger import Granted, Told
from crewgate.errors import LedgerError
from crewgate.verifier.filling import Filling, Steps
from crewgate.verifier.holdings import Holding, Holdings
from crewgate.verifier.lineage import Status
from crewgate.verifier.returns import Returns


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

    def __repr__(self) -> str:
        return f"<Lending {self.owed} of {self.most}>"

    @property
    def owed(self) -> int:
        """Micro-credits that the ledger has not been told of."""
        return sum(holding.owed for holding in self._owing.values())

    @property
    def owing(self) -> list[bytes]:
        """The branches that owe."""
        return list(self._owing)

    def lend(self, key: bytes, need: int) -> bool:
        """Bring a branch's lease to what a call needs; False if it is unknown, or for too much."""
        holding = self._holdings.get(key)
        record = self._table.branch(holding.number) if holding is not None else None
        if holding is None or record is None or holding.closed or not holding.path:
            return False
        missing = need - record.available
        out = record.granted - record.given_back - record.settled
        if missing <= 0:
            return True
        if missing > self.most - self.owed or missing + out > limits.lease_micro_max:
            return False
        self._table.lend(holding.number, missing)
        holding.granted += missing
        self._owe(holding, holding.owed + missing)
        self._returns.granted(holding)
        return True

    def repay(self, holding: Holding) -> Steps:
        """Have the ledger charge what a branch owes; the table has that already."""
        amount = holding.owed
        sequence = self._table.begin_draw(holding.number, amount)
        draw = self._filling.draw(holding, sequence, amount, 0)
        try:
            answer = yield structs.replace(draw, owed=True)
        finally:
            self._table.refuse(holding.number, 0, 0, 0, 0)
        if not isinstance(answer, Granted):
            return Status.CONTENDED
        self._owe(holding, holding.owed - amount)
        if not holding.owed:
            self._returns.tell_anew(holding)
        return Status.GRANTED

    def take_up(self, leases: Mapping[bytes, Told]) -> None:
        """What the former life of the agent had lent. LedgerError if nobody lends here."""
        for holding in self._holdings:
            owed = holding.granted - leases.get(holding.key, Told()).granted
            if owed > 0 and not self.most:
                raise LedgerError(
                    "the ledger knows of less than the table was granted: it is an older copy"
                )
            if owed > 0:
                self._owe(holding, owed)

    def _owe(self, holding: Holding, amount: int) -> None:
        holding.owed = amount
        if amount:
            self._owing[holding.key] = holding
        else:
            self._owing.pop(holding.key, None)
