"""Brings the lease of one branch to what a call needs: draws, recalls, draws again, or refuses.

If the ledger cannot grant, this module decides between `exhausted` and `contended`, the last two
checks of the gate. Nothing here waits: the caller brings the ledger's answers. Other steps may
change the branch before an answer arrives, so each step reads the table again.
"""

from collections import defaultdict
from collections.abc import Generator
from typing import NamedTuple

from msgspec import structs

from crewgate import limits
from crewgate._native.table_owner import OwnedTable
from crewgate.core.budget.ledger_protocol import (
    BranchClosed,
    DrawGranted,
    DrawLease,
    DrawQueued,
    Operation,
    OperationResult,
    QuotaExhausted,
)
from crewgate.errors import InvalidLedgerOperationError
from crewgate.leases.branch_opening import DrawResult
from crewgate.leases.lease_index import LeaseIndex, LeaseRecord
from crewgate.leases.lease_returns import LeaseReturns

LedgerCalls = Generator[Operation, OperationResult, DrawResult]


class OtherNeeds(NamedTuple):
    """What other calls of the branch need beside the call of a draw, in micro-credits.

    The calls `before` have just been granted credit of the lease, and may not have reserved it yet.
    The calls `behind` wait for this draw. One draw for all of them replaces a draw for each.
    """

    before: int = 0
    behind: int = 0


NO_OTHERS = OtherNeeds()


class LeaseDraws:
    """The draws of one machine, whose name in the ledger is `holder`: one at a time per branch."""

    def __init__(
        self, table: OwnedTable, index: LeaseIndex, returns: LeaseReturns, holder: str
    ) -> None:
        self._table = table
        self._index = index
        self._returns = returns
        self._holder = holder
        self._refused: defaultdict[bytes, set[bytes]] = defaultdict(set)
        # By the key of the crew: its hour or day that did not cover a call (`window_of`).
        self._spent_windows: dict[bytes, int] = {}

    def fill(
        self, record: LeaseRecord, need: int, now_boot_ns: int, others: OtherNeeds
    ) -> LedgerCalls:
        """Draw until the lease has `need`, or until it is clear that it cannot have it.

        1. Draw what is missing. If enough is free, draw for the `others` too.
        2. If the ledger says that credit lies elsewhere, recall it from leases of this machine, and
           draw again if that changed anything.
        3. If nothing changed, a ticket ends as CONTENDED, and an exhausted level goes into the
           table as a refusal. If credit came back in the meantime, draw again.
        """
        rate = -1
        for _ in range(limits.draw_rounds_max):
            generation = self._table.credit_generation
            available, room, loose = self._read(record)
            missing = need - available
            if missing <= 0:
                return (yield from self._draw_for_others(record, -missing, room, others))
            # Calls in flight hold so much that the lease's word has no bits left for the rest.
            if missing > room:
                break
            if rate < 0:
                wanted = (missing + sum(others)) * limits.lease_rate_divisor
                rate = max(wanted, record.rate(available, now_boot_ns))
            rate = min(rate, room * limits.lease_rate_divisor)
            reported = record.reported
            answer = yield from self._ask(record, missing, rate, loose=loose)
            if record.closed or not isinstance(answer, DrawQueued | QuotaExhausted):
                self.apply(record, answer)
                is_granted = isinstance(answer, DrawGranted) and not record.closed
                return DrawResult.GRANTED if is_granted else DrawResult.CLOSED
            if self._returns.recall_for(answer.level, answer.missing, record, now_boot_ns):
                continue
            if record.reported != reported:
                continue  # the ledger answered before it had the newest report of this lease
            if isinstance(answer, DrawQueued):
                break
            self._refuse(record, answer, need)
            if self._table.credit_generation == generation:
                return DrawResult.EXHAUSTED
            # Credit came back after this round had read the lease: the refusal may be untrue.
        self._table.refuse(record.number, 0, 0, 0, 0)
        return DrawResult.CONTENDED

    def _draw_for_others(
        self, record: LeaseRecord, left: int, room: int, others: OtherNeeds
    ) -> LedgerCalls:
        """Grant the call, whose need leaves `left` in the lease; first draw if others take that."""
        wanted = min(sum(others) - left, room)
        if others.before <= left or wanted <= 0:
            return DrawResult.GRANTED
        rate = wanted * limits.lease_rate_divisor
        answer = yield from self._ask(record, 1, rate, ahead=True)
        self.apply(record, answer)
        is_closed = record.closed or isinstance(answer, BranchClosed)
        return DrawResult.CLOSED if is_closed else DrawResult.GRANTED

    def prefetch(self, record: LeaseRecord, now_boot_ns: int) -> LedgerCalls:
        """Draw ahead of any call, up to a quarter second of recent spending, if that is free."""
        available, room, _ = self._read(record)
        rate = record.rate(available, now_boot_ns) - available * limits.lease_rate_divisor
        rate = min(rate, room * limits.lease_rate_divisor)
        if record.closed or rate < limits.lease_rate_divisor:
            return DrawResult.GRANTED
        answer = yield from self._ask(record, 1, rate, ahead=True)
        self.apply(record, answer)
        return DrawResult.GRANTED if isinstance(answer, DrawGranted) else DrawResult.CONTENDED

    def _ask(
        self, record: LeaseRecord, need: int, rate: int, *, ahead: bool = False, loose: int = 0
    ) -> Generator[Operation, OperationResult, OperationResult]:
        draw = self.draw(record, self._table.begin_draw(record.number, need), need, rate)
        record.draw_max = max(need, rate // limits.lease_rate_divisor)
        try:
            return (yield structs.replace(draw, ahead=ahead, loose=loose))
        except InvalidLedgerOperationError:
            self._table.refuse(record.number, 0, 0, 0, 0)
            raise
        finally:
            record.draw_max = 0

    def _read(self, lease: LeaseRecord) -> tuple[int, int, int]:
        """Return what the lease has available, how much more it can hold, and its loose credit.

        Loose credit is what calls in flight hold as upper bounds.
        """
        record = self._table.branch(lease.number)
        if record is None:
            return 0, 0, 0
        outstanding = record.granted - record.given_back - record.settled
        room = max(0, limits.lease_micro_max - outstanding)
        return record.available, room, record.loose

    def draw(self, record: LeaseRecord, sequence: int, need: int, rate: int) -> DrawLease:
        """Return the draw of a branch under this machine's name and boot."""
        return DrawLease(record.key, self._holder, self._table.life, sequence, need, rate)

    def apply(self, record: LeaseRecord, answer: OperationResult) -> None:
        """Add a grant to the lease; any other answer only ends the pending draw."""
        if not isinstance(answer, DrawGranted):
            self._table.refuse(record.number, 0, 0, 0, 0)
            return
        self._table.grant(record.number, answer.amount, answer.left)
        record.granted += answer.amount
        self._returns.granted(record)
        # The branch was closed while the ledger was answering.
        if record.closed:
            self._returns.take(record, answer.amount)

    def _refuse(self, record: LeaseRecord, answer: QuotaExhausted, need: int) -> None:
        """Write the refusal into the table, so that the gate refuses inline.

        The table counts levels from the branch (0) upwards, the crew last.
        """
        upwards = (record.key, *reversed(record.path))
        level = upwards.index(answer.level)
        self._table.refuse(record.number, level, need, answer.used, answer.quota, answer.window)
        self._refused[answer.level].add(record.key)
        if answer.window:
            self._spent_windows[answer.level] = answer.window

    def spent_window(self, crew: bytes) -> int:
        """Return the crew's hour or day that did not cover a call; 0 without a refusal."""
        return self._spent_windows.get(crew, 0)

    def forgotten(self, key: bytes) -> None:
        """Forget the refusals at a level whose record was reclaimed."""
        self._refused.pop(key, None)

    def lift_all(self) -> None:
        """Lift the refusals of every level: each may have credit again."""
        for level in list(self._refused):
            self.lift(level)

    def lift(self, level: bytes) -> None:
        """Let branches that were refused at this level ask again: it may have credit again."""
        self._spent_windows.pop(level, None)
        for key in self._refused.pop(level, ()):
            record = self._index.get(key)
            if record is not None:
                self._table.refuse(record.number, 0, 0, 0, 0)
