"""Brings the lease of one branch to what a call needs: draws, recalls, draws again, or refuses.

Decides which of `exhausted` and `contended` it is when the ledger cannot grant (DESIGN.md, checks 9
and 10). The ledger is asked by who drives it, so nothing here waits; between a question and its
answer much may happen to the branch, and whatever is needed is read anew.
"""

from collections import defaultdict
from collections.abc import Generator

from msgspec import structs

from crewgate import limits
from crewgate._native.owner import OwnedTable
from crewgate.core.budget.ledger_protocol import Answer, Draw, Exhausted, Granted, Operation, Ticket
from crewgate.errors import LedgerError
from crewgate.leases.branch_opening import Status
from crewgate.leases.give_back import Returns
from crewgate.leases.lease_index import Holding, Holdings

Steps = Generator[Operation, Answer, Status]


class Filling:
    """The draws of one machine, whose name in the ledger is `holder`; one at a time of a branch."""

    def __init__(
        self, table: OwnedTable, holdings: Holdings, returns: Returns, holder: str
    ) -> None:
        self._table = table
        self._holdings = holdings
        self._returns = returns
        self._holder = holder
        self._refused: defaultdict[bytes, set[bytes]] = defaultdict(set)

    def __repr__(self) -> str:
        return f"<Filling {self._holder}>"

    def fill(self, holding: Holding, need: int, now_boot_ns: int) -> Steps:
        """Until the lease has `need`, or it is known that it cannot."""
        rate = -1
        for _ in range(limits.draw_rounds_max):
            generation = self._table.credit_generation
            available, room, loose = self._read(holding)
            missing = need - available
            if missing <= 0:
                return Status.GRANTED
            if missing > room:  # calls in flight hold what the lease's word has bits for
                break
            if rate < 0:
                rate = holding.rate(available, now_boot_ns)
            rate = min(rate, room * limits.lease_rate_divisor)
            answer = yield from self._ask(holding, missing, rate, loose=loose)
            if holding.closed or not isinstance(answer, Ticket | Exhausted):
                self.apply(holding, answer)
                is_granted = isinstance(answer, Granted) and not holding.closed
                return Status.GRANTED if is_granted else Status.CLOSED
            if self._returns.relieve(answer.level, answer.missing, holding, now_boot_ns):
                continue
            if isinstance(answer, Ticket):
                break
            self._refuse(holding, answer, need)
            if self._table.credit_generation == generation:
                return Status.EXHAUSTED
            # Credit came back between the look and the refusal: the refusal may be untrue.
        self._table.refuse(holding.number, 0, 0, 0, 0)
        return Status.CONTENDED

    def ahead(self, holding: Holding, now_boot_ns: int) -> Steps:
        """Before the lease is empty: bring it to what is spent while one lasts, if that is free."""
        available, room, _ = self._read(holding)
        most = room * limits.lease_rate_divisor
        more = holding.rate(available, now_boot_ns) - available * limits.lease_rate_divisor
        if holding.closed or min(more, most) < limits.lease_rate_divisor:
            return Status.GRANTED
        answer = yield from self._ask(holding, 1, min(more, most), ahead=True)
        self.apply(holding, answer)
        return Status.GRANTED if isinstance(answer, Granted) else Status.CONTENDED

    def _ask(
        self, holding: Holding, need: int, rate: int, *, ahead: bool = False, loose: int = 0
    ) -> Generator[Operation, Answer, Answer]:
        draw = self.draw(holding, self._table.begin_draw(holding.number, need), need, rate)
        holding.asked = max(need, rate // limits.lease_rate_divisor)
        try:
            return (yield structs.replace(draw, ahead=ahead, loose=loose))
        except LedgerError:
            self._table.refuse(holding.number, 0, 0, 0, 0)
            raise
        finally:
            holding.asked = 0

    def _read(self, holding: Holding) -> tuple[int, int, int]:
        """What the lease has available, how much more it can hold with all calls in flight.

        And what of it those hold as upper bounds.
        """
        record = self._table.branch(holding.number)
        if record is None:
            return 0, 0, 0
        outstanding = record.granted - record.given_back - record.settled
        room = max(0, limits.lease_micro_max - outstanding)
        return record.available, room, record.loose

    def draw(self, holding: Holding, sequence: int, need: int, rate: int) -> Draw:
        """What the ledger is asked."""
        return Draw(holding.key, self._holder, self._table.life, sequence, need, rate)

    def apply(self, holding: Holding, answer: Answer) -> None:
        """Write a grant into the lease; any other answer only ends the pending draw."""
        if not isinstance(answer, Granted):
            self._table.refuse(holding.number, 0, 0, 0, 0)
            return
        self._table.grant(holding.number, answer.amount, answer.left)
        holding.granted += answer.amount
        self._returns.granted(holding)
        if holding.closed:  # while the ledger was being asked
            self._returns.take(holding, answer.amount)

    def _refuse(self, holding: Holding, answer: Exhausted, need: int) -> None:
        """Let the gate refuse inline. Levels count from the branch (0) upwards, the crew last."""
        upwards = (holding.key, *reversed(holding.path))
        level = upwards.index(answer.level)
        self._table.refuse(holding.number, level, need, answer.used, answer.quota, answer.window)
        self._refused[answer.level].add(holding.key)

    def forgotten(self, key: bytes) -> None:
        """The record of a branch or crew was reclaimed."""
        self._refused.pop(key, None)

    def lift_all(self) -> None:
        """Every level may have credit again."""
        for level in list(self._refused):
            self.lift(level)

    def lift(self, level: bytes) -> None:
        """The level may have credit again: branches refused for it ask the ledger again."""
        for key in self._refused.pop(level, ()):
            holding = self._holdings.get(key)
            if holding is not None:
                self._table.refuse(holding.number, 0, 0, 0, 0)
