"""The one place that opens branches, draws credit and applies it to the table.

Decides how a call's missing credit is got: from the ledger, or by a recall from the leases of this
machine, and which of `exhausted` and `contended` it is when neither helps (DESIGN.md, checks 9 and
10). Used by the agent for its machine and by a standalone verifier for itself; waits for nobody.
"""

from collections import defaultdict

from crewgate import limits
from crewgate._native.owner import OwnedTable
from crewgate._native.records import Branch, Reclaimed
from crewgate.core import ids
from crewgate.core.grant import Grant
from crewgate.core.ledger import (
    WINDOW_SECONDS_HOUR,
    Closed,
    Draw,
    Exhausted,
    Granted,
    Ledger,
    Open,
    Path,
    Ticket,
    Volatile,
)
from crewgate.core.policy import Crew, Policy
from crewgate.errors import LedgerError
from crewgate.verifier.holdings import Holding, Holdings, holding_of, restored_from
from crewgate.verifier.lineage import Lineage, Status, allowance_of
from crewgate.verifier.returns import Returns

__all__ = ["Lessor", "Status"]


class Lessor:
    """Leases for one table, drawn from one ledger under the name of one machine (`holder`).

    Times: `now` is the wall clock in seconds, `now_boot_ns` CLOCK_BOOTTIME in nanoseconds. Not
    thread-safe; a ledger that blocks is wrapped by the caller.
    """

    def __init__(self, table: OwnedTable, ledger: Ledger, policy: Policy, holder: str) -> None:
        self._table = table
        self._ledger = ledger
        self._holder = holder
        self._holdings = Holdings()
        self._lineage = Lineage(table, ledger, self._holdings, holder)
        self._returns = Returns(table, ledger, self._holdings, holder)
        self._refused: defaultdict[bytes, set[bytes]] = defaultdict(set)
        self._hour = 0
        self._crews: dict[str, Crew] = {}
        self.load(policy)

    def __repr__(self) -> str:
        return f"<Lessor {self._holder} records={len(self._holdings)}>"

    def load(self, policy: Policy) -> None:
        """Draw under these ceilings from now on; refusals at a crew's level are asked again."""
        self._crews = {crew.name: crew for crew in policy.crews}
        for crew in policy.crews:
            self._lift(ids.crew_key(crew.name))

    def draw(self, grant: Grant, need: int, now: float, now_boot_ns: int) -> Status:
        """Bring the branch's lease to `need` micro-credits, opening what has no record yet.

        LedgerError if `need` is not 0 … limits.price_micro_max.
        """
        if not 0 <= need <= limits.price_micro_max:
            raise LedgerError(f"a call needs 0 to {limits.price_micro_max} micro-credits: {need}")
        crew = self._crews.get(grant.crew)
        if crew is None:
            return Status.CLOSED
        self.turn(now)
        opening = self._lineage.open(grant, crew, now, now_boot_ns)
        if isinstance(opening, Status):
            return opening
        for level in opening.raised:
            self._lift(level)
        for level, overdrawn in opening.lowered:
            self._returns.recall(level, overdrawn)
        return self._fill(self._known(grant.branch_key), need, now, now_boot_ns)

    def close(self, key: bytes) -> int:
        """End a branch and all below it; the unreserved credit that went back to the ledger.

        What calls in flight release later is found by `give_back_idle`. A branch that was never
        seen here has nothing to give; its revocation is the table's business.
        """
        self._ledger.close(key)
        holding = self._holdings.get(key)
        if holding is None or not holding.path:
            return 0
        returned = self._table.close_branch(holding.number)
        holding.closed = True
        self._returns.returned(holding, returned)
        self._lineage.shares.ended(holding.path[0], key)
        return returned + self._returns.recall(key, limits.quota_micro_max)

    def turn(self, now: float) -> None:
        """In a new hour or day the crews' allowances are new: refused branches may ask again.

        Cheap; also to be called when no draw comes in, since refusals are then inline.
        """
        hour = int(now) // WINDOW_SECONDS_HOUR
        if hour > self._hour:
            self._hour = hour
            for name in self._crews:
                self._lift(ids.crew_key(name))

    def give_back_idle(self, now: float, now_boot_ns: int) -> int:
        """Give back leases that spent nothing since the last look; call about once a second."""
        self.turn(now)
        return self._returns.look(now, now_boot_ns)

    def reclaim(self, now: float, now_boot_ns: int, records_max: int) -> list[Reclaimed]:
        """Let the table forget what has expired; what was consumed stays charged above it."""
        gone = self._table.reclaim(int(now), now_boot_ns, records_max)
        for key, consumed in gone:
            holding = self._holdings.remove(key)
            if holding is not None and holding.path:
                self._lineage.shares.reclaimed(holding.path[0], key)
            if isinstance(self._ledger, Volatile):
                self._ledger.forget(key, consumed)
            self._refused.pop(key, None)
            self._returns.forgotten(key)
        return gone

    def rebuild(self, now: float) -> None:
        """Take up a table that another life of this agent left: before the first draw.

        A ledger without a memory is restored from it; draws that were begun and not applied are
        sent again under their number, so that nothing is granted twice.
        """
        records = sorted(
            self._table.scan(0, self._table.geometry.branches), key=lambda r: len(r.parents)
        )
        keys = {record.number: record.key for record in records}
        for record in records:
            self._lineage.keep(holding_of(record, tuple(keys[n] for n in record.parents)))
        if isinstance(self._ledger, Volatile):
            restored = [restored_from(record, self._known(record.key).path) for record in records]
            self._ledger.restore(self._holder, self._table.life, restored)
        for crew in self._crews.values():
            key = ids.crew_key(crew.name)
            if self._holdings.get(key) is not None:
                path = Path(key, allowance_of(crew), (), crew.name)
                self._ledger.open(Open(path, self._holder, self._table.life))
        for record in records:
            holding = self._known(record.key)
            if holding.leased:
                self._holdings.lease(holding)
        for record in records:
            if record.pending:
                self._resend(record, now)
        self._hour = int(now) // WINDOW_SECONDS_HOUR

    def _resend(self, record: Branch, now: float) -> None:
        """Have a draw that was begun answered, under its number.

        A ticket is redeemed at once: nobody is left who would come back for it.
        """
        holding = self._known(record.key)
        answer = self._send(holding, record.sequence, record.pending, 0, now)
        self._apply(holding, answer)
        if isinstance(answer, Ticket):
            self._fill(holding, record.available + record.pending, now, 0)

    def _known(self, key: bytes) -> Holding:
        holding = self._holdings.get(key)
        if holding is None:
            raise KeyError(key.hex())
        return holding

    def _fill(self, holding: Holding, need: int, now: float, now_boot_ns: int) -> Status:
        rate = -1
        for _ in range(limits.draw_rounds_max):
            generation = self._table.credit_generation
            available, room = self._read(holding)
            missing = need - available
            if missing <= 0:
                return Status.GRANTED
            if missing > room:  # calls in flight hold what the lease's word has bits for
                break
            if rate < 0:
                rate = holding.rate(available, now_boot_ns)
            rate = min(rate, room * limits.lease_rate_divisor)
            sequence = self._table.begin_draw(holding.number, missing)
            answer = self._send(holding, sequence, missing, rate, now)
            if isinstance(answer, Granted | Closed):
                self._apply(holding, answer)
                return Status.GRANTED if isinstance(answer, Granted) else Status.CLOSED
            if self._returns.relieve(answer.level, answer.missing, holding, available, now_boot_ns):
                continue
            if isinstance(answer, Ticket):
                break
            self._refuse(holding, answer, need)
            if self._table.credit_generation == generation:
                return Status.EXHAUSTED
            # Credit came back between the look and the refusal: the refusal may be untrue.
        self._table.refuse(holding.number, 0, 0, 0, 0)
        return Status.CONTENDED

    def _read(self, holding: Holding) -> tuple[int, int]:
        """What the lease has available, and how much more it can hold with all calls in flight."""
        record = self._table.branch(holding.number)
        if record is None:
            return 0, 0
        outstanding = record.granted - record.given_back - record.settled
        return record.available, max(0, limits.lease_micro_max - outstanding)

    def _send(
        self, holding: Holding, sequence: int, need: int, rate: int, now: float
    ) -> Granted | Ticket | Exhausted | Closed:
        draw = Draw(holding.key, self._holder, self._table.life, sequence, need, rate)
        return self._ledger.draw(draw, now)

    def _apply(self, holding: Holding, answer: Granted | Ticket | Exhausted | Closed) -> None:
        """Write a grant into the lease; any other answer only ends the pending draw."""
        if not isinstance(answer, Granted):
            self._table.refuse(holding.number, 0, 0, 0, 0)
            return
        hour, day = answer.hour, answer.day
        self._table.grant(
            holding.number, answer.amount, (hour.number, hour.charged), (day.number, day.charged)
        )
        holding.granted += answer.amount
        self._returns.granted(holding)

    def _refuse(self, holding: Holding, answer: Exhausted, need: int) -> None:
        """Let the gate refuse inline. Levels count from the branch (0) upwards, the crew last."""
        upwards = (holding.key, *reversed(holding.path))
        level = upwards.index(answer.level)
        self._table.refuse(holding.number, level, need, answer.used, answer.quota)
        self._refused[answer.level].add(holding.key)

    def _lift(self, level: bytes) -> None:
        """The level may have credit again: branches refused for it ask the ledger again."""
        for key in self._refused.pop(level, ()):
            holding = self._holdings.get(key)
            if holding is not None:
                self._table.refuse(holding.number, 0, 0, 0, 0)
