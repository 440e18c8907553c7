"""The one place that opens branches, draws credit and applies it to the table.

Decides whose lease is brought to what a call needs, what goes back, and what a new life of the
agent makes of the table that it finds. Used by the agent for its machine and by a standalone
verifier for itself; waits for nobody.
"""

import math
from collections.abc import Callable
from typing import cast

from crewgate import limits
from crewgate._native.records import BranchRecord, Reclaimed
from crewgate._native.table_owner import OwnedTable
from crewgate.core import ids
from crewgate.core.budget.ledger_protocol import (
    WINDOW_SECONDS_HOUR,
    BranchesOpened,
    BranchPath,
    CloseBranch,
    Ledger,
    OpenBranches,
    RecallTicket,
    ReturnCredit,
    SettleLease,
)
from crewgate.core.policy.policy import CrewPolicy, Policy
from crewgate.core.tokens.grant import Grant
from crewgate.errors import LedgerError
from crewgate.leases.branch_opening import BranchOpener, DrawResult, allowance_of
from crewgate.leases.branch_quota import BranchBound
from crewgate.leases.give_back import LeaseReturns, SubmitOperation
from crewgate.leases.lease_index import LeaseIndex, LeaseRecord, holding_of
from crewgate.leases.overdraft import Overdraft
from crewgate.leases.refill import LeaseRefill, LedgerCalls

__all__ = ["DrawResult", "LeaseClient", "LedgerCalls"]


class LeaseClient:
    """Leases for one table, drawn from one ledger under the name of one machine (`holder`).

    `ledger` answers at once, for `draw` and `rebuild`. Who cannot wait for it in a call drives
    `steps` instead, and gives `tell`, by which the lessor says what needs no answer, in order.
    While the ledger is away it lends at most `lent_max` micro-credits, all branches together.
    `forget` is of a ledger that keeps nothing: (branch, what it consumed).

    Times: `now` is the wall clock in seconds, `now_boot_ns` CLOCK_BOOTTIME in nanoseconds. Not
    thread-safe.
    """

    def __init__(
        self,
        table: OwnedTable,
        ledger: Ledger,
        policy: Policy,
        holder: str,
        *,
        tell: SubmitOperation | None = None,
        lent_max: int = 0,
        forget: Callable[[bytes, int], None] | None = None,
    ) -> None:
        self._table = table
        self._ledger = ledger
        self._submit = tell or _at_once_to(ledger)
        self._forget = forget
        self.holder = holder
        self._index = LeaseIndex()
        self._opener = BranchOpener(table, self._index, holder)
        self._returns = LeaseReturns(table, self._submit, self._index, holder)
        self._refill = LeaseRefill(table, self._index, self._returns, holder)
        self.overdraft = Overdraft(table, self._index, self._returns, self._refill, lent_max)
        self._hour = 0
        self._crews: dict[str, CrewPolicy] = {}
        self.load(policy)

    def __repr__(self) -> str:
        return f"<LeaseClient {self.holder} records={len(self._index)}>"

    def load(self, policy: Policy) -> None:
        """Draw under these ceilings from now on; refusals at a crew's level are asked again."""
        self._crews = {crew.name: crew for crew in policy.crews}
        for crew in policy.crews:
            self._refill.lift(ids.crew_key(crew.name))

    def draw(self, grant: Grant, need: int, now: float, now_boot_ns: int) -> DrawResult:
        """All the `steps`, with a ledger that answers at once."""
        return self._at_once(self.steps(grant, need, now, now_boot_ns), now)

    def steps(self, grant: Grant, need: int, now: float, now_boot_ns: int) -> LedgerCalls:
        """Bring the branch's lease to `need` micro-credits, opening what has no record yet.

        Yields what the ledger is to be asked, and goes on with its answer. One at a time for each
        branch. LedgerError if `need` is not 0 … limits.price_micro_max.
        """
        if not 0 <= need <= limits.price_micro_max:
            raise LedgerError(f"a call needs 0 to {limits.price_micro_max} micro-credits: {need}")
        crew = self._crews.get(grant.crew)
        if crew is None:
            return DrawResult.CLOSED
        self.roll_windows(now)
        opening = yield from self._opener.open(grant, crew, need, now, now_boot_ns)
        if isinstance(opening, DrawResult):
            if opening is DrawResult.FULL and self._forget is not None:
                for key in self._opener.unopened(grant, crew):
                    self._forget(key, 0)
            return opening
        for level in opening.raised:
            self._refill.lift(level)
        for level, overdrawn in opening.lowered:
            self._returns.recall(level, overdrawn)
        return (yield from self._refill.fill(self._known(grant.branch_key), need, now_boot_ns))

    def bound(self, name: str, now: float, now_boot_ns: int) -> BranchBound | None:
        """The bound that keeps crew `name` from another branch; None if it may open one."""
        crew = self._crews[name]
        return self._opener.shares.bound(ids.crew_key(name), crew, 1, now, now_boot_ns)

    @property
    def records(self) -> int:
        """How many records of the table are taken."""
        return len(self._index)

    def decline(self, opened: BranchesOpened) -> None:
        """The steps end with this answer, since nobody waits: what was drawn with it returns."""
        returned = self._opener.declined(opened)
        if returned is not None:
            self._submit(returned)

    def prefetch(self, key: bytes, now_boot_ns: int) -> LedgerCalls:
        """Draw before a call has to wait for it; `steps` of a branch that is drawn for already."""
        record = self._index.get(key)
        if record is None or record.closed:
            return DrawResult.CLOSED
        return (yield from self._refill.prefetch(record, now_boot_ns))

    def settle_overdraft(self, key: bytes) -> LedgerCalls:
        """Have the ledger charge what a branch was lent; `steps` of one that is not drawn for."""
        return (yield from self.overdraft.settle(self._known(key)))

    def seconds_left(self, key: bytes) -> float:
        """Seconds until the branch should be drawn for again; inf if it spends next to nothing."""
        holding = self._index.get(key)
        record = self._table.branch(holding.number) if holding is not None else None
        if holding is None or record is None or not record.available:
            return math.inf
        return holding.lasts(record.available)

    def close(self, key: bytes) -> int:
        """End a branch and all below it; the unreserved credit that went back to the ledger.

        What calls in flight release later is found by `give_back_idle`. A branch that was never
        seen here has nothing to give; its revocation is the table's business.
        """
        record = self._index.get(key)
        if record is not None or self._forget is None:
            self._submit(CloseBranch(key))
        if record is None or not record.path:
            return 0
        returned = self._table.close_branch(record.number)
        record.closed = True
        self._returns.returned(record, returned)
        self._opener.shares.ended(record.path[0], key)
        return returned + self._returns.recall(key, limits.quota_micro_max)

    def overran(self, key: bytes, amount: int, now_boot_ns: int) -> None:
        """A call's answer stated so much more than was reserved for it."""
        record = self._index.get(key)
        if record is not None and record.path:
            self._returns.overran(record, amount, now_boot_ns)

    def roll_windows(self, now: float) -> None:
        """In a new hour or day the crews' allowances are new: refused branches may ask again.

        Cheap; also to be called when no draw comes in, since refusals are then inline.
        """
        hour = int(now) // WINDOW_SECONDS_HOUR
        if hour > self._hour:
            self._hour = hour
            for name in self._crews:
                self._refill.lift(ids.crew_key(name))

    def give_back_idle(self, now: float, now_boot_ns: int) -> int:
        """Give back leases that spent nothing since the last look; call about once a second."""
        self.roll_windows(now)
        return self._returns.give_back_idle(now, now_boot_ns)

    def surrender(self, level: bytes, now_boot_ns: int) -> int:
        """Give back what another machine wants of `level`; how much that was."""
        return self._returns.surrender(level, now_boot_ns)

    def lift(self, key: bytes) -> None:
        """A branch and all above it may have credit again: whoever was refused may ask."""
        record = self._index.get(key)
        for level in (*record.path, key) if record is not None else ():
            self._refill.lift(level)

    def lift_all(self) -> None:
        """Every branch that is refused inline may ask the ledger again."""
        self._refill.lift_all()

    def give_back_all(self, now_boot_ns: int) -> None:
        """All credit that no call in flight holds, and what of it was spent: this is the end."""
        for crew in self._crews:
            self._returns.surrender(ids.crew_key(crew), now_boot_ns)

    def reclaim(self, now: float, now_boot_ns: int, records_max: int) -> list[Reclaimed]:
        """Let the table forget what has expired; what was consumed stays charged above it."""
        gone = self._table.reclaim(int(now), now_boot_ns, records_max)
        for key, consumed in gone:
            self._refill.forgotten(key)
            record = self._index.remove(key)
            if record is None:
                continue
            if record.path:
                self._opener.shares.reclaimed(record.path[0], key)
            self._returns.reclaimed(record, consumed, now_boot_ns)
            if self._forget is not None:
                self._forget(key, consumed)
        return gone

    def rebuild(self, now: float, now_boot_ns: int) -> None:
        """Take up a table that another life of this agent left: before the first draw.

        Draws that were begun and not applied are sent again under their number, so that nothing is
        granted twice; what may not have been told is told again.
        """
        records = sorted(
            self._table.scan(0, self._table.geometry.branches), key=lambda r: len(r.parents)
        )
        keys = {record.number: record.key for record in records}
        for record in records:
            self._opener.keep(holding_of(record, tuple(keys[n] for n in record.parents)))
        for crew in self._crews.values():
            key = ids.crew_key(crew.name)
            if self._index.get(key) is not None:
                path = BranchPath(key, allowance_of(crew), (), crew.name)
                self._ledger.do(OpenBranches(path, self.holder, self._table.life), now)
        leases = self._ledger.leases(self.holder, self._table.life)
        self.overdraft.take_up(leases)
        self._returns.take_up(leases, now_boot_ns)
        for record in records:
            holding = self._known(record.key)
            if holding.leased:
                self._index.lease(holding)
        for record in records:
            if record.pending:
                self._resend(record, now, now_boot_ns)
        leases = self._ledger.leases(self.holder, self._table.life)
        for record in records:
            if record.key in leases:
                self._opener.adopt(record.key, leases[record.key])
        self.overdraft.take_up(leases)
        self._hour = int(now) // WINDOW_SECONDS_HOUR

    def _resend(self, record: BranchRecord, now: float, now_boot_ns: int) -> None:
        """Have a draw that was begun answered, under its number.

        A ticket is redeemed at once: nobody is left who would come back for it.
        """
        holding = self._known(record.key)
        draw = self._refill.draw(holding, record.sequence, record.pending, 0)
        answer = self._ledger.do(draw, now)
        self._refill.apply(holding, answer)
        if isinstance(answer, RecallTicket):
            need = record.available + record.pending
            self._at_once(self._refill.fill(holding, need, now_boot_ns), now)

    def _known(self, key: bytes) -> LeaseRecord:
        record = self._index.get(key)
        if record is None:
            raise KeyError(key.hex())
        return record

    def _at_once(self, steps: LedgerCalls, now: float) -> DrawResult:
        try:
            operation = next(steps)
            while True:
                try:
                    answer = self._ledger.do(operation, now)
                except LedgerError as error:
                    operation = steps.throw(error)
                else:
                    operation = steps.send(answer)
        except StopIteration as end:
            return cast("DrawResult", end.value)


def _at_once_to(ledger: Ledger) -> SubmitOperation:
    def submit(operation: ReturnCredit | SettleLease | CloseBranch) -> None:
        ledger.do(operation, 0.0)

    return submit
