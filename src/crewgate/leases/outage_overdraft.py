"""Overdrafts: credit that a machine lends itself while the ledger is unavailable, and then owes.

Only if the operator prefers calls that go on to budgets that hold (`[ledger] on_unavailable`). Lent
credit is in the table at once. The ledger charges it as soon as it answers, whatever is left there;
until then, the machine sends no returns of that lease. No record stores the debt: a branch owes
what its lease in the table was granted, less what the ledger knows it has granted. `lent` in the
table's header is an upper bound of all debts: it rises before each loan, and falls after each
charge.

A settlement takes the next draw's number and leaves no draw pending, sends the owed draw, lowers
`lent`, and then sends the totals of the lease. A kill after any step is safe, since the next agent
computes the debt again (`take_up`). If the ledger has charged the draw, that agent finds no debt;
and because no draw is pending, it does not add the repeated answer to the lease a second time. If
the table was granted more than the ledger knows plus `lent`, the ledger is an older copy that has
forgotten grants: `take_up` refuses it. The page docs/explanation/ledger-and-leases.md has an
example.
"""

from collections.abc import Mapping
from itertools import islice

from msgspec import structs

from crewgate import limits
from crewgate._native.table_owner import OwnedTable
from crewgate.core.budget.ledger_protocol import DrawGranted, LeaseUsage
from crewgate.errors import InvalidLedgerOperationError
from crewgate.leases.branch_opening import DrawResult
from crewgate.leases.lease_draws import LeaseDraws, LedgerCalls
from crewgate.leases.lease_index import LeaseIndex, LeaseRecord
from crewgate.leases.lease_returns import LeaseReturns


class OutageOverdraft:
    """The overdrafts of one table: their debts are at most `micro_max` micro-credits together."""

    def __init__(
        self,
        table: OwnedTable,
        index: LeaseIndex,
        returns: LeaseReturns,
        refill: LeaseDraws,
        micro_max: int,
    ) -> None:
        self._table = table
        self._index = index
        self._returns = returns
        self._refill = refill
        self.micro_max = micro_max
        self._owing: dict[bytes, LeaseRecord] = {}
        # Debts that the ledger refused to charge; `lent` in the table still counts them.
        self._written_off = 0

    @property
    def overdrawn(self) -> int:
        """The granted micro-credits that the ledger does not know."""
        return self._index.overdrawn

    @property
    def debt(self) -> int:
        """The overdrawn micro-credits that were not taken out of leases again."""
        return self._index.debt

    @property
    def owing(self) -> list[bytes]:
        """The keys of branches that owe credit, at most `limits.repaid_branches_max` at a time."""
        return list(islice(self._owing, limits.repaid_branches_max))

    def overdraw(self, key: bytes, need: int) -> bool:
        """Lend a branch's lease what it lacks for a call; return whether it has `need` now.

        False if the branch has no record or is closed, if the debts would pass `micro_max`, or if
        the lease would grow too large.
        """
        lease = self._index.get(key)
        record = self._table.branch(lease.number) if lease is not None else None
        if lease is None or record is None or lease.closed or not lease.path:
            return False
        missing = need - record.available
        # The lease must hold this loan and what a draw under way may still bring.
        out = record.granted - record.given_back - record.settled + lease.draw_max
        if missing <= 0:
            return True
        if missing > self.micro_max - self.debt or missing + out > limits.lease_micro_max:
            return False
        # `lent` in the table rises first, so that it is never below the debts.
        self._set_overdrawn(lease, lease.overdrawn + missing)
        self._table.overdraw(lease.number, missing)
        lease.granted += missing
        self._returns.granted(lease)
        return True

    def settle(self, record: LeaseRecord) -> LedgerCalls:
        """Let the ledger charge what a branch owes; the lease has this credit already.

        Takes a draw's number in the table but leaves no draw pending: otherwise the next agent
        would send the draw again after a kill, and add its answer to the lease. Raises
        InvalidLedgerOperationError if the ledger refuses the draw; the debt is then written off
        until the next agent starts.
        """
        amount = record.overdrawn
        sequence = self._table.begin_draw(record.number, amount)
        self._table.refuse(record.number, 0, 0, 0, 0)
        draw = self._refill.draw(record, sequence, amount, 0)
        try:
            answer = yield structs.replace(draw, owed=True)
        except InvalidLedgerOperationError as error:
            self._write_off(record)
            raise InvalidLedgerOperationError(
                f"{error}; the ledger never charges {amount} micro-credits that the branch owes"
            ) from error
        if not isinstance(answer, DrawGranted):
            return DrawResult.CONTENDED
        self._set_overdrawn(record, record.overdrawn - amount)
        if not record.overdrawn:
            self._returns.report_again(record)
        return DrawResult.GRANTED

    def take_up(self, leases: Mapping[bytes, LeaseUsage]) -> None:
        """Find what the table owes, from what the ledger has granted (`leases`).

        Raises InvalidLedgerOperationError if the table owes more than any agent has lent.
        """
        found = {}
        for record in self._index:
            known = leases.get(record.key, LeaseUsage())
            found[record.key] = (
                record.granted - known.granted,
                record.given_back - known.given_back,
            )
        if sum(overdrawn for overdrawn, _ in found.values() if overdrawn > 0) > self._table.lent:
            raise InvalidLedgerOperationError(
                "the ledger is an older copy: it has granted less than this machine's table has "
                "received"
            )
        for record in self._index:
            overdrawn, withheld = found[record.key]
            self._note(record, max(0, overdrawn), withheld)

    def _set_overdrawn(self, record: LeaseRecord, overdrawn: int) -> None:
        """Note what a record owes, and set `lent` in the table to all that is owed."""
        self._note(record, overdrawn, record.withheld)
        self._table.set_lent(self.overdrawn + self._written_off)

    def _note(self, record: LeaseRecord, overdrawn: int, withheld: int) -> None:
        self._index.set_overdrawn(record, overdrawn, withheld if overdrawn else 0)
        if overdrawn:
            self._owing[record.key] = record
        else:
            self._owing.pop(record.key, None)

    def _write_off(self, record: LeaseRecord) -> None:
        """Stop asking for a debt; the next agent finds it in the table and asks once more."""
        self._written_off += record.overdrawn
        self._note(record, 0, 0)
