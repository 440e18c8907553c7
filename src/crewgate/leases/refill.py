"""Brings the lease of one branch to what a call needs: draws, recalls, draws again, or refuses.

Decides which of `exhausted` and `contended` it is when the ledger cannot grant (the gate's last two
checks). The ledger is asked by who drives it, so nothing here waits; between a question and its
answer much may happen to the branch, and whatever is needed is read anew.
"""

from collections import defaultdict
from collections.abc import Generator

from msgspec import structs

from crewgate import limits
from crewgate._native.table_owner import OwnedTable
from crewgate.core.budget.ledger_protocol import (
    DrawGranted,
    DrawLease,
    Operation,
    OperationResult,
    QuotaExhausted,
    RecallTicket,
)
from crewgate.errors import LedgerError
from crewgate.leases.branch_opening import DrawResult
from crewgate.leases.give_back import LeaseReturns
from crewgate.leases.lease_index import LeaseIndex, LeaseRecord

LedgerCalls = Generator[Operation, OperationResult, DrawResult]


class LeaseRefill:
    """The draws of one machine, whose name in the ledger is `holder`; one at a time of a branch."""

    def __init__(
        self, table: OwnedTable, index: LeaseIndex, returns: LeaseReturns, holder: str
    ) -> None:
        self._table = table
        self._index = index
        self._returns = returns
        self._holder = holder
        self._refused: defaultdict[bytes, set[bytes]] = defaultdict(set)

    def __repr__(self) -> str:
        return f"<LeaseRefill {self._holder}>"

    def fill(self, record: LeaseRecord, need: int, now_boot_ns: int) -> LedgerCalls:
        """Until the lease has `need`, or it is known that it cannot."""
        rate = -1
        for _ in range(limits.draw_rounds_max):
            generation = self._table.credit_generation
            available, room, loose = self._read(record)
            missing = need - available
            if missing <= 0:
                return DrawResult.GRANTED
            if missing > room:  # calls in flight hold what the lease's word has bits for
                break
            if rate < 0:
                rate = record.rate(available, now_boot_ns)
            rate = min(rate, room * limits.lease_rate_divisor)
            answer = yield from self._ask(record, missing, rate, loose=loose)
            if record.closed or not isinstance(answer, RecallTicket | QuotaExhausted):
                self.apply(record, answer)
                is_granted = isinstance(answer, DrawGranted) and not record.closed
                return DrawResult.GRANTED if is_granted else DrawResult.CLOSED
            if self._returns.recall_for(answer.level, answer.missing, record, now_boot_ns):
                continue
            if isinstance(answer, RecallTicket):
                break
            self._refuse(record, answer, need)
            if self._table.credit_generation == generation:
                return DrawResult.EXHAUSTED
            # Credit came back between the look and the refusal: the refusal may be untrue.
        self._table.refuse(record.number, 0, 0, 0, 0)
        return DrawResult.CONTENDED

    def prefetch(self, record: LeaseRecord, now_boot_ns: int) -> LedgerCalls:
        """Before the lease is empty: bring it to what is spent while one lasts, if that is free."""
        available, room, _ = self._read(record)
        most = room * limits.lease_rate_divisor
        more = record.rate(available, now_boot_ns) - available * limits.lease_rate_divisor
        if record.closed or min(more, most) < limits.lease_rate_divisor:
            return DrawResult.GRANTED
        answer = yield from self._ask(record, 1, min(more, most), ahead=True)
        self.apply(record, answer)
        return DrawResult.GRANTED if isinstance(answer, DrawGranted) else DrawResult.CONTENDED

    def _ask(
        self, record: LeaseRecord, need: int, rate: int, *, ahead: bool = False, loose: int = 0
    ) -> Generator[Operation, OperationResult, OperationResult]:
        draw = self.draw(record, self._table.begin_draw(record.number, need), need, rate)
        record.asked = max(need, rate // limits.lease_rate_divisor)
        try:
            return (yield structs.replace(draw, ahead=ahead, loose=loose))
        except LedgerError:
            self._table.refuse(record.number, 0, 0, 0, 0)
            raise
        finally:
            record.asked = 0

    def _read(self, holding: LeaseRecord) -> tuple[int, int, int]:
        """What the lease has available, how much more it can hold with all calls in flight.

        And what of it those hold as upper bounds.
        """
        record = self._table.branch(holding.number)
        if record is None:
            return 0, 0, 0
        outstanding = record.granted - record.given_back - record.settled
        room = max(0, limits.lease_micro_max - outstanding)
        return record.available, room, record.loose

    def draw(self, record: LeaseRecord, sequence: int, need: int, rate: int) -> DrawLease:
        """What the ledger is asked."""
        return DrawLease(record.key, self._holder, self._table.life, sequence, need, rate)

    def apply(self, record: LeaseRecord, answer: OperationResult) -> None:
        """Write a grant into the lease; any other answer only ends the pending draw."""
        if not isinstance(answer, DrawGranted):
            self._table.refuse(record.number, 0, 0, 0, 0)
            return
        self._table.grant(record.number, answer.amount, answer.left)
        record.granted += answer.amount
        self._returns.granted(record)
        if record.closed:  # while the ledger was being asked
            self._returns.take(record, answer.amount)

    def _refuse(self, record: LeaseRecord, answer: QuotaExhausted, need: int) -> None:
        """Let the gate refuse inline. Levels count from the branch (0) upwards, the crew last."""
        upwards = (record.key, *reversed(record.path))
        level = upwards.index(answer.level)
        self._table.refuse(record.number, level, need, answer.used, answer.quota, answer.window)
        self._refused[answer.level].add(record.key)

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
            record = self._index.get(key)
            if record is not None:
                self._table.refuse(record.number, 0, 0, 0, 0)
