"""The one entry to the leases of a table: opens branches, draws credit, gives it back, recovers.

The agent uses it for its machine, a standalone verifier for its own process. It never waits: a
caller drives its steps and brings the ledger's answers.
"""

import math
from collections.abc import Callable
from typing import cast

from crewgate import limits
from crewgate._native.records import BranchRecord, ReclaimedBranch
from crewgate._native.table_owner import OwnedTable
from crewgate.core import ids
from crewgate.core.budget.ledger_protocol import (
    WINDOW_SECONDS_HOUR,
    BranchesOpened,
    BranchPath,
    CloseBranch,
    CrewDrawLimits,
    DrawQueued,
    Ledger,
    OpenBranches,
    ReportLeaseUsage,
    ReturnCredit,
)
from crewgate.core.policy.policy import CrewPolicy, Policy
from crewgate.core.tokens.grant import Grant
from crewgate.errors import InvalidLedgerOperationError
from crewgate.leases.branch_count_limiter import ReachedBranchLimit
from crewgate.leases.branch_opening import BranchOpener, DrawResult, allowance_of
from crewgate.leases.lease_draws import NO_OTHERS, LeaseDraws, LedgerCalls, OtherNeeds
from crewgate.leases.lease_index import LeaseIndex, lease_record_of
from crewgate.leases.lease_returns import LeaseReturns, SubmitOperation
from crewgate.leases.outage_overdraft import OutageOverdraft

__all__ = ["NO_OTHERS", "DrawResult", "LeaseClient", "LedgerCalls", "OtherNeeds"]


class LeaseClient:
    """The leases of one table, drawn from one ledger under the name of one machine (`holder`).

    `draw` and `rebuild` ask `ledger` at once. A caller that cannot wait for the ledger drives
    `steps` instead; it gives `submit`, which takes the operations without an answer, in order.
    While the ledger is unavailable, the table may owe at most `overdraft_micro_max` micro-credits,
    all branches together. `forget` serves a ledger that ends with its process: the client calls it
    with a branch that the table has forgotten and what that branch had consumed.

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
        submit: SubmitOperation | None = None,
        overdraft_micro_max: int = 0,
        forget: Callable[[bytes, int], None] | None = None,
    ) -> None:
        self._table = table
        self._ledger = ledger
        self._submit = submit or _submit_at_once(ledger)
        self._forget = forget
        self.holder = holder
        self._index = LeaseIndex()
        self._opener = BranchOpener(table, self._index, holder)
        self._returns = LeaseReturns(table, self._submit, self._index, holder)
        self._refill = LeaseDraws(table, self._index, self._returns, holder)
        self.overdraft = OutageOverdraft(
            table, self._index, self._returns, self._refill, overdraft_micro_max
        )
        self._hour = 0
        self._crews: dict[str, CrewPolicy] = {}
        self.load(policy)

    def load(self, policy: Policy) -> None:
        """Draw under these ceilings from now on; branches refused at a crew's level ask again."""
        self._crews = {crew.name: crew for crew in policy.crews}
        self._returns.windowed_crews = frozenset(
            ids.crew_key(crew.name)
            for crew in policy.crews
            if allowance_of(crew) != CrewDrawLimits()
        )
        for crew in policy.crews:
            self._refill.lift(ids.crew_key(crew.name))

    def draw(self, grant: Grant, need: int, now: float, now_boot_ns: int) -> DrawResult:
        """Do all `steps` with a ledger that answers at once."""
        return self._at_once(self.steps(grant, need, now, now_boot_ns), now)

    def steps(
        self,
        grant: Grant,
        need: int,
        now: float,
        now_boot_ns: int,
        others: OtherNeeds = NO_OTHERS,
    ) -> LedgerCalls:
        """Bring the branch's lease to `need` micro-credits, and open levels without a record.

        If enough credit is free, the lease also gets what `others` need.

        Yields each operation for the ledger, and continues with the answer that the caller sends.
        The caller drives one such generator at a time for each branch. Raises
        InvalidLedgerOperationError if `need` is not 0 … limits.price_micro_max.
        """
        if not 0 <= need <= limits.price_micro_max:
            raise InvalidLedgerOperationError(
                f"a call needs {need} micro-credits; expected 0 to {limits.price_micro_max}"
            )
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
        record = self._index[grant.branch_key]
        return (yield from self._refill.fill(record, need, now_boot_ns, others))

    def bound(self, name: str, now: float, now_boot_ns: int) -> ReachedBranchLimit | None:
        """Return the bound that keeps crew `name` from another branch; None if it may open one."""
        crew = self._crews[name]
        return self._opener.shares.bound(ids.crew_key(name), crew, 1, now, now_boot_ns)

    def spent_window(self, name: str) -> int:
        """Return the hour or day (`window_of`) whose credits did not cover a call of crew `name`.

        0 if this machine refused no call of the crew for that reason since the hour began.
        """
        return self._refill.spent_window(ids.crew_key(name))

    @property
    def records(self) -> int:
        """How many records of the table are in use."""
        return len(self._index)

    def decline(self, opened: BranchesOpened) -> None:
        """Give back the credit that came with this answer: no caller continues its steps."""
        returned = self._opener.declined(opened)
        if returned is not None:
            self._submit(returned)

    def prefetch(self, key: bytes, now_boot_ns: int) -> LedgerCalls:
        """Return the steps that draw ahead of the calls of an open branch."""
        record = self._index.get(key)
        if record is None or record.closed:
            return DrawResult.CLOSED
        return (yield from self._refill.prefetch(record, now_boot_ns))

    def settle_overdraft(self, key: bytes) -> LedgerCalls:
        """Return the steps that make the ledger charge a branch's overdraft.

        The caller drives them only while it drives no other steps of the branch.
        """
        return (yield from self.overdraft.settle(self._index[key]))

    def seconds_left(self, key: bytes) -> float:
        """Return the seconds until half of the branch's lease is spent: then the next draw is due.

        inf if the branch spends less than a micro-credit per second, or if its lease is empty.
        """
        lease = self._index.get(key)
        record = self._table.branch(lease.number) if lease is not None else None
        if lease is None or record is None or not record.available:
            return math.inf
        return lease.lasts(record.available)

    def close(self, key: bytes) -> int:
        """End a branch and all below it; return the unreserved credit that went back to the ledger.

        `give_back_idle` finds what calls in flight release later. A branch without a record here
        has no credit to give back; the table's revocation alone ends its calls.
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
        """Report that a tool stated `amount` micro-credits more than its call had reserved."""
        record = self._index.get(key)
        if record is not None and record.path:
            self._returns.overran(record, amount, now_boot_ns)

    def roll_windows(self, now: float) -> None:
        """Let refused branches ask again in a new hour or day, in which crews have new allowances.

        Cheap. Call it also while no draw comes in: the gate then refuses inline, without a draw.
        """
        hour = int(now) // WINDOW_SECONDS_HOUR
        if hour > self._hour:
            self._hour = hour
            for name in self._crews:
                self._refill.lift(ids.crew_key(name))

    def give_back_idle(self, now: float, now_boot_ns: int) -> int:
        """Give back leases that spent nothing for a minute; call about once a second."""
        self.roll_windows(now)
        return self._returns.give_back_idle(now, now_boot_ns)

    def surrender(self, level: bytes, now_boot_ns: int) -> int:
        """Give back all unreserved credit at and below `level`; return the amount.

        Another machine wants the credit.
        """
        return self._returns.surrender(level, now_boot_ns)

    def lift(self, key: bytes) -> None:
        """Let branches ask again that were refused at this branch or at a level above it."""
        record = self._index.get(key)
        for level in (*record.path, key) if record is not None else ():
            self._refill.lift(level)

    def lift_all(self) -> None:
        """Let every branch that the gate refuses inline ask the ledger again."""
        self._refill.lift_all()

    def give_back_all(self, now_boot_ns: int) -> None:
        """Report every lease and give back all credit that no call in flight holds.

        For an agent that ends and has no successor.
        """
        for crew in self._crews:
            self._returns.surrender(ids.crew_key(crew), now_boot_ns)

    def reclaim(self, now: float, now_boot_ns: int, records_max: int) -> list[ReclaimedBranch]:
        """Let the table forget expired records; what they consumed stays charged above them."""
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
        """Continue on the table that an earlier agent left; call it before the first draw.

        1. Read all records, and open their crews under the present ceilings.
        2. Find what the table owes the ledger (`OutageOverdraft.take_up`).
        3. Send the totals again that the ledger may not have (`LeaseReturns.take_up`).
        4. Send each draw again that is pending in the table, under its number. The ledger repeats
           its answer, so it grants no credit twice.
        5. Put into leases what the ledger has granted and the table never received (`adopt`), then
           find again what the table owes.
        """
        records = sorted(
            self._table.scan(0, self._table.geometry.branches), key=lambda r: len(r.parents)
        )
        keys = {record.number: record.key for record in records}
        for record in records:
            self._opener.keep(lease_record_of(record, tuple(keys[n] for n in record.parents)))
        for crew in self._crews.values():
            key = ids.crew_key(crew.name)
            if self._index.get(key) is not None:
                path = BranchPath(key, allowance_of(crew), (), crew.name)
                self._ledger.do(OpenBranches(path, self.holder, self._table.life), now)
        leases = self._ledger.leases(self.holder, self._table.life)
        self.overdraft.take_up(leases)
        self._returns.take_up(leases, now_boot_ns)
        for record in records:
            lease = self._index[record.key]
            if lease.leased:
                self._index.lease(lease)
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
        """Send a pending draw again under its number, and apply the answer.

        If the answer is a ticket, draw at once: the caller that would redeem it is gone.
        """
        lease = self._index[record.key]
        draw = self._refill.draw(lease, record.sequence, record.pending, 0)
        answer = self._ledger.do(draw, now)
        self._refill.apply(lease, answer)
        if isinstance(answer, DrawQueued):
            need = record.available + record.pending
            self._at_once(self._refill.fill(lease, need, now_boot_ns, NO_OTHERS), now)

    def _at_once(self, steps: LedgerCalls, now: float) -> DrawResult:
        try:
            operation = next(steps)
            while True:
                try:
                    answer = self._ledger.do(operation, now)
                except InvalidLedgerOperationError as error:
                    operation = steps.throw(error)
                else:
                    operation = steps.send(answer)
        except StopIteration as end:
            return cast("DrawResult", end.value)


def _submit_at_once(ledger: Ledger) -> SubmitOperation:
    def submit(operation: ReturnCredit | ReportLeaseUsage | CloseBranch) -> None:
        ledger.do(operation, 0.0)

    return submit
