"""The one place that opens branches, draws credit and applies it to the table.

Decides whose lease is brought to what a call needs, what goes back, and what a new life of the
agent makes of the table that it finds. Used by the agent for its machine and by a standalone
verifier for itself; waits for nobody.
"""

import math
from collections.abc import Callable
from typing import cast

from crewgate import limits
from crewgate._native.owner import OwnedTable
from crewgate._native.records import Branch, Reclaimed
from crewgate.core import ids
from crewgate.core.budget.ledger_protocol import (
    WINDOW_SECONDS_HOUR,
    Close,
    GiveBack,
    Ledger,
    Open,
    Opened,
    Path,
    Settle,
    Ticket,
)
from crewgate.core.policy.policy import Crew, Policy
from crewgate.core.tokens.grant import Grant
from crewgate.errors import LedgerError
from crewgate.leases.branch_opening import Lineage, Status, allowance_of
from crewgate.leases.branch_quota import Bound
from crewgate.leases.give_back import Returns, Tell
from crewgate.leases.lease_index import Holding, Holdings, holding_of
from crewgate.leases.overdraft import Lending
from crewgate.leases.refill import Filling, Steps

__all__ = ["Lessor", "Status", "Steps"]


class Lessor:
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
        tell: Tell | None = None,
        lent_max: int = 0,
        forget: Callable[[bytes, int], None] | None = None,
    ) -> None:
        self._table = table
        self._ledger = ledger
        self._tell = tell or _at_once_to(ledger)
        self._forget = forget
        self.holder = holder
        self._holdings = Holdings()
        self._lineage = Lineage(table, self._holdings, holder)
        self._returns = Returns(table, self._tell, self._holdings, holder)
        self._filling = Filling(table, self._holdings, self._returns, holder)
        self.lending = Lending(table, self._holdings, self._returns, self._filling, lent_max)
        self._hour = 0
        self._crews: dict[str, Crew] = {}
        self.load(policy)

    def __repr__(self) -> str:
        return f"<Lessor {self.holder} records={len(self._holdings)}>"

    def load(self, policy: Policy) -> None:
        """Draw under these ceilings from now on; refusals at a crew's level are asked again."""
        self._crews = {crew.name: crew for crew in policy.crews}
        for crew in policy.crews:
            self._filling.lift(ids.crew_key(crew.name))

    def draw(self, grant: Grant, need: int, now: float, now_boot_ns: int) -> Status:
        """All the `steps`, with a ledger that answers at once."""
        return self._at_once(self.steps(grant, need, now, now_boot_ns), now)

    def steps(self, grant: Grant, need: int, now: float, now_boot_ns: int) -> Steps:
        """Bring the branch's lease to `need` micro-credits, opening what has no record yet.

        Yields what the ledger is to be asked, and goes on with its answer. One at a time for each
        branch. LedgerError if `need` is not 0 … limits.price_micro_max.
        """
        if not 0 <= need <= limits.price_micro_max:
            raise LedgerError(f"a call needs 0 to {limits.price_micro_max} micro-credits: {need}")
        crew = self._crews.get(grant.crew)
        if crew is None:
            return Status.CLOSED
        self.turn(now)
        opening = yield from self._lineage.open(grant, crew, need, now, now_boot_ns)
        if isinstance(opening, Status):
            if opening is Status.FULL and self._forget is not None:
                for key in self._lineage.unopened(grant, crew):
                    self._forget(key, 0)
            return opening
        for level in opening.raised:
            self._filling.lift(level)
        for level, overdrawn in opening.lowered:
            self._returns.recall(level, overdrawn)
        return (yield from self._filling.fill(self._known(grant.branch_key), need, now_boot_ns))

    def bound(self, name: str, now: float, now_boot_ns: int) -> Bound | None:
        """The bound that keeps crew `name` from another branch; None if it may open one."""
        crew = self._crews[name]
        return self._lineage.shares.bound(ids.crew_key(name), crew, 1, now, now_boot_ns)

    @property
    def records(self) -> int:
        """How many records of the table are taken."""
        return len(self._holdings)

    def decline(self, opened: Opened) -> None:
        """The steps end with this answer, since nobody waits: what was drawn with it returns."""
        returned = self._lineage.declined(opened)
        if returned is not None:
            self._tell(returned)

    def ahead(self, key: bytes, now_boot_ns: int) -> Steps:
        """Draw before a call has to wait for it; `steps` of a branch that is drawn for already."""
        holding = self._holdings.get(key)
        if holding is None or holding.closed:
            return Status.CLOSED
        return (yield from self._filling.ahead(holding, now_boot_ns))

    def repay(self, key: bytes) -> Steps:
        """Have the ledger charge what a branch was lent; `steps` of one that is not drawn for."""
        return (yield from self.lending.repay(self._known(key)))

    def lasts(self, key: bytes) -> float:
        """Seconds until the branch should be drawn for again; inf if it spends next to nothing."""
        holding = self._holdings.get(key)
        record = self._table.branch(holding.number) if holding is not None else None
        if holding is None or record is None or not record.available:
            return math.inf
        return holding.lasts(record.available)

    def close(self, key: bytes) -> int:
        """End a branch and all below it; the unreserved credit that went back to the ledger.

        What calls in flight release later is found by `give_back_idle`. A branch that was never
        seen here has nothing to give; its revocation is the table's business.
        """
        holding = self._holdings.get(key)
        if holding is not None or self._forget is None:
            self._tell(Close(key))
        if holding is None or not holding.path:
            return 0
        returned = self._table.close_branch(holding.number)
        holding.closed = True
        self._returns.returned(holding, returned)
        self._lineage.shares.ended(holding.path[0], key)
        return returned + self._returns.recall(key, limits.quota_micro_max)

    def overran(self, key: bytes, amount: int, now_boot_ns: int) -> None:
        """A call's answer stated so much more than was reserved for it."""
        holding = self._holdings.get(key)
        if holding is not None and holding.path:
            self._returns.overran(holding, amount, now_boot_ns)

    def turn(self, now: float) -> None:
        """In a new hour or day the crews' allowances are new: refused branches may ask again.

        Cheap; also to be called when no draw comes in, since refusals are then inline.
        """
        hour = int(now) // WINDOW_SECONDS_HOUR
        if hour > self._hour:
            self._hour = hour
            for name in self._crews:
                self._filling.lift(ids.crew_key(name))

    def give_back_idle(self, now: float, now_boot_ns: int) -> int:
        """Give back leases that spent nothing since the last look; call about once a second."""
        self.turn(now)
        return self._returns.look(now, now_boot_ns)

    def surrender(self, level: bytes, now_boot_ns: int) -> int:
        """Give back what another machine wants of `level`; how much that was."""
        return self._returns.surrender(level, now_boot_ns)

    def lift(self, key: bytes) -> None:
        """A branch and all above it may have credit again: whoever was refused may ask."""
        holding = self._holdings.get(key)
        for level in (*holding.path, key) if holding is not None else ():
            self._filling.lift(level)

    def lift_all(self) -> None:
        """Every branch that is refused inline may ask the ledger again."""
        self._filling.lift_all()

    def give_back_all(self, now_boot_ns: int) -> None:
        """All credit that no call in flight holds, and what of it was spent: this is the end."""
        for crew in self._crews:
            self._returns.surrender(ids.crew_key(crew), now_boot_ns)

    def reclaim(self, now: float, now_boot_ns: int, records_max: int) -> list[Reclaimed]:
        """Let the table forget what has expired; what was consumed stays charged above it."""
        gone = self._table.reclaim(int(now), now_boot_ns, records_max)
        for key, consumed in gone:
            self._filling.forgotten(key)
            holding = self._holdings.remove(key)
            if holding is None:
                continue
            if holding.path:
                self._lineage.shares.reclaimed(holding.path[0], key)
            self._returns.reclaimed(holding, consumed, now_boot_ns)
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
            self._lineage.keep(holding_of(record, tuple(keys[n] for n in record.parents)))
        for crew in self._crews.values():
            key = ids.crew_key(crew.name)
            if self._holdings.get(key) is not None:
                path = Path(key, allowance_of(crew), (), crew.name)
                self._ledger.do(Open(path, self.holder, self._table.life), now)
        leases = self._ledger.leases(self.holder, self._table.life)
        self.lending.take_up(leases)
        self._returns.take_up(leases, now_boot_ns)
        for record in records:
            holding = self._known(record.key)
            if holding.leased:
                self._holdings.lease(holding)
        for record in records:
            if record.pending:
                self._resend(record, now, now_boot_ns)
        leases = self._ledger.leases(self.holder, self._table.life)
        for record in records:
            if record.key in leases:
                self._lineage.adopt(record.key, leases[record.key])
        self.lending.take_up(leases)
        self._hour = int(now) // WINDOW_SECONDS_HOUR

    def _resend(self, record: Branch, now: float, now_boot_ns: int) -> None:
        """Have a draw that was begun answered, under its number.

        A ticket is redeemed at once: nobody is left who would come back for it.
        """
        holding = self._known(record.key)
        draw = self._filling.draw(holding, record.sequence, record.pending, 0)
        answer = self._ledger.do(draw, now)
        self._filling.apply(holding, answer)
        if isinstance(answer, Ticket):
            need = record.available + record.pending
            self._at_once(self._filling.fill(holding, need, now_boot_ns), now)

    def _known(self, key: bytes) -> Holding:
        holding = self._holdings.get(key)
        if holding is None:
            raise KeyError(key.hex())
        return holding

    def _at_once(self, steps: Steps, now: float) -> Status:
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
            return cast("Status", end.value)


def _at_once_to(ledger: Ledger) -> Tell:
    def tell(operation: GiveBack | Settle | Close) -> None:
        ledger.do(operation, 0.0)

    return tell
