"""Answers the draws of attached processes, with a bounded wait for credit that other holders have.

`LeaseClient` decides about credit; this module decides only when to try a draw again. It reads no
clock by itself: times are CLOCK_BOOTTIME nanoseconds.

1. `ask` starts a draw: the lease client yields operations, and the ledger's queue does them.
2. While a branch has a draw in progress, its further draws wait for the outcome.
3. If other holders have the credit, the ledger recalls it, and `retry` tries the draw again.
4. A draw that has waited for too long gets the answer `contended`.
"""

import heapq
import logging
import math
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

import trio

from crewgate import limits
from crewgate._native.table_owner import OwnedTable
from crewgate.agent.anomaly.minting_watch import MintingWatch
from crewgate.agent.branch_registry import BranchRegistry
from crewgate.agent.grant_consistency_check import check, level_name
from crewgate.agent.ipc_server.attachments import AttachedProcess
from crewgate.agent.revocation.types import ClockReading
from crewgate.core.budget.ledger_protocol import BranchesOpened, OperationResult
from crewgate.errors import InvalidLedgerOperationError, ServiceConnectionError
from crewgate.ipc.attach_messages import CreditDrawn, DrawCredit
from crewgate.leases.lease_client import NO_OTHERS, DrawResult, LeaseClient, LedgerCalls, OtherNeeds
from crewgate.ledger.operation_queue import LedgerQueue

_log = logging.getLogger(__name__)
_FULL_NS = round(limits.table_full_seconds * 1e9)
_RETRY_NS = round(limits.draw_again_seconds * 1e9)
# After these results the table has a record of the branch, so the registry may store it.
_OPENED = {DrawResult.GRANTED, DrawResult.EXHAUSTED, DrawResult.CONTENDED}


@dataclass(slots=True, eq=False)
class WaitingDraw:
    """A draw without an answer, and until when to try it (CLOCK_BOOTTIME)."""

    process: AttachedProcess
    request: DrawCredit
    until_ns: int
    answer: DrawResult | None = None

    @property
    def answered(self) -> bool:
        """Whether the caller has an answer, or needs none any more."""
        return self.answer is not None or self.process.gone


@dataclass(slots=True, eq=False)
class DrawInProgress:
    """The draw of one branch: `first` began it, and `others` came meanwhile.

    `first` is None if the agent draws by itself, to prefetch or to settle an overdraft.
    """

    first: WaitingDraw | None
    others: deque[WaitingDraw] = field(default_factory=deque)


class Draws:
    """The draws of all attached processes; a process with too many at once must try again.

    A wait ends early if the ledger becomes unavailable. Credit that comes too late for the call
    that asked for it is in the lease for the next call.
    """

    def __init__(
        self,
        table: OwnedTable,
        lease_client: LeaseClient,
        ledger_queue: LedgerQueue,
        registry: BranchRegistry,
        minting_watch: MintingWatch,
        wait_seconds: float,
        *,
        read: Callable[[], ClockReading],
    ) -> None:
        self._table = table
        self._lease_client = lease_client
        self._ledger_queue = ledger_queue
        self._registry = registry
        self._minting_watch = minting_watch
        self._read = read
        self._wait_ns = round(wait_seconds * 1e9)
        # All draws without an answer, in the order of their deadlines.
        self._waiting: deque[WaitingDraw] = deque()
        # The draws for which other holders have the credit.
        self._contended: deque[WaitingDraw] = deque()
        # By the key of the branch.
        self._in_progress: dict[bytes, DrawInProgress] = {}
        # A heap of prefetches: when, and for which branch.
        self._prefetches: list[tuple[int, bytes]] = []
        self._planned: set[bytes] = set()
        self._generation = -1
        self._tried_ns = 0
        # When the table was last found full.
        self._full_ns: int | None = None
        self._has_waiting = trio.Event()
        # Set when a prefetch is due before all others.
        self._next_changed = trio.Event()

    @property
    def found_full(self) -> bool:
        """Whether the table had no room for a branch within the last seconds."""
        since = self._full_ns
        return since is not None and self._read().boot_ns - since < _FULL_NS

    async def wait(self) -> None:
        """Wait until there is a draw without an answer."""
        if not self._waiting:
            self._has_waiting = trio.Event()
            await self._has_waiting.wait()

    async def prefetch_due(self) -> None:
        """Wait until a prefetch is due."""
        while (seconds := self._seconds_to_prefetch()) > 0:
            self._next_changed = trio.Event()
            with trio.move_on_after(seconds):
                await self._next_changed.wait()

    def ask(self, process: AttachedProcess, request: DrawCredit, clocks: ClockReading) -> None:
        """Start a draw, and answer it now or later.

        Raises ServiceConnectionError for an invalid request.
        """
        check(request.grant)
        if not 0 <= request.need <= limits.price_micro_max:
            raise ServiceConnectionError(
                f"a draw of {request.need} micro-credits, which no call can need"
            )
        if process.draws >= limits.ipc_draws_max:
            process.send(CreditDrawn(id=request.id, status=DrawResult.CONTENDED.value))
            return
        process.draws += 1
        waiting = WaitingDraw(process, request, clocks.boot_ns + self._wait_ns)
        if not self._overdraw(waiting):
            # Begin also while the ledger is unavailable: the next call finds the credit.
            self._begin(waiting, clocks, OtherNeeds(behind=request.behind))
        if not waiting.answered and self._ledger_queue.unavailable_reason:
            self._answer(waiting, DrawResult.CONTENDED)
        if not waiting.answered:
            self._waiting.append(waiting)
            self._has_waiting.set()

    def retry(self, clocks: ClockReading) -> None:
        """Retry the contended draws in order, if credit came back or some time has passed.

        Answer the draws that have waited for too long; if the ledger is unavailable, answer all.
        """
        generation = self._table.credit_generation
        is_due = clocks.boot_ns - self._tried_ns >= _RETRY_NS
        if generation != self._generation or is_due:
            self._generation, self._tried_ns = generation, clocks.boot_ns
            for _ in range(len(self._contended)):
                self._begin(self._contended.popleft(), clocks)
        while self._waiting and self._is_over(self._waiting[0], clocks):
            waiting = self._waiting.popleft()
            if not waiting.answered and not self._overdraw(waiting):
                self._answer(waiting, DrawResult.CONTENDED)

    def hurry(self, clocks: ClockReading) -> None:
        """Retry now, because another machine has returned credit."""
        self._generation = -1
        self.retry(clocks)

    def _overdraw(self, waiting: WaitingDraw) -> bool:
        """Grant the overdraft if the ledger is unavailable; return whether that was possible."""
        if not self._ledger_queue.unavailable_reason:
            return False
        key, need = waiting.request.grant.branch_key, waiting.request.need
        is_lent = self._lease_client.overdraft.overdraw(key, need)
        if is_lent:
            self._answer(waiting, DrawResult.GRANTED)
        return is_lent

    def settle_overdraft(self) -> None:
        """Have the ledger charge overdrafts after an outage; call it once a second."""
        if self._ledger_queue.unavailable_reason:
            return
        for key in self._lease_client.overdraft.owing:
            if key not in self._in_progress:
                self._in_progress[key] = DrawInProgress(None)
                self._go_on(key, self._lease_client.settle_overdraft(key), None)

    def _is_over(self, waiting: WaitingDraw, clocks: ClockReading) -> bool:
        is_late = clocks.boot_ns >= waiting.until_ns
        return waiting.answered or is_late or bool(self._ledger_queue.unavailable_reason)

    def _begin(
        self, waiting: WaitingDraw, clocks: ClockReading, others: OtherNeeds = NO_OTHERS
    ) -> None:
        if waiting.answered:
            return
        grant, need = waiting.request.grant, waiting.request.need
        draw = self._in_progress.get(grant.branch_key)
        if draw is not None:
            while draw.others and draw.others[0].answered:
                draw.others.popleft()
            draw.others.append(waiting)
            return
        if len(self._in_progress) >= limits.draw_exchanges_max:
            self._answer(waiting, DrawResult.CONTENDED)
            return
        # A throttled or quarantined orchestrator draws nothing. The gateway answers 503, not 401:
        # the watch only suspects, and a person may lift the quarantine, so the branch must not end.
        if not self._minting_watch.admits(grant, clocks):
            self._answer(waiting, DrawResult.HELD)
            return
        self._in_progress[grant.branch_key] = DrawInProgress(waiting)
        steps = self._lease_client.steps(grant, need, *clocks, others)
        self._go_on(grant.branch_key, steps, None)

    def _go_on(
        self,
        branch: bytes,
        steps: LedgerCalls,
        answer: OperationResult | InvalidLedgerOperationError,
    ) -> None:
        """Pass the ledger's answer to the lease client, and its next operation to the ledger."""
        try:
            if isinstance(answer, BranchesOpened) and not self._is_wanted(branch):
                # The ledger took so long that no call waits. The next call asks it again.
                steps.close()
                self._lease_client.decline(answer)
                self._end(branch, DrawResult.CONTENDED)
                return
            if isinstance(answer, InvalidLedgerOperationError):
                operation = steps.throw(answer)
            else:
                operation = steps.send(answer)
        except StopIteration as end:
            self._end(branch, end.value)
        except InvalidLedgerOperationError as error:
            _log.warning("the ledger refuses a draw: %s", error)
            self._end(branch, DrawResult.CONTENDED)
        except Exception as error:  # noqa: BLE001 - it must not end the agent; the calls try again
            _log.warning("internal error in a draw: %r", error)
            self._end(branch, DrawResult.CONTENDED)
        else:
            self._ledger_queue.ask(operation, partial(self._go_on, branch, steps))

    def _is_wanted(self, branch: bytes) -> bool:
        draw = self._in_progress[branch]
        waiting = (*draw.others, *([draw.first] if draw.first else ()))
        return any(not each.answered for each in waiting)

    def _end(self, branch: bytes, status: DrawResult) -> None:
        """Give the first draw of a branch its result, and try the others with the present lease."""
        draw, clocks = self._in_progress.pop(branch), self._read()
        if status is DrawResult.FULL:
            self._full_ns = clocks.boot_ns
        if status is DrawResult.GRANTED:
            self._plan(branch, clocks)
        first = draw.first
        if first is not None and status in _OPENED:
            self._registry.learn(first.request.grant)
        if first is not None and not first.answered:
            if status is DrawResult.CONTENDED and not self._is_over(first, clocks):
                self._contended.append(first)
            else:
                self._answer(first, status)
        self._begin_all(first, draw.others, clocks)

    def _begin_all(
        self, first: WaitingDraw | None, others: Iterable[WaitingDraw], clocks: ClockReading
    ) -> None:
        """Begin the draws that waited for that of `first`: one for all, if the credit is free."""
        waiting = [each for each in others if not each.answered]
        before = _granted(first)
        behind = sum(each.request.need + each.request.behind for each in waiting)
        for each in waiting:
            behind -= each.request.need
            self._begin(each, clocks, OtherNeeds(before, behind))
            before += _granted(each)

    def _plan(self, branch: bytes, clocks: ClockReading) -> None:
        """Plan a prefetch for when half of the lease should be spent, so no call finds it empty."""
        seconds = self._lease_client.seconds_left(branch)
        if seconds <= limits.draw_ahead_seconds_max and branch not in self._planned:
            due = clocks.boot_ns + round(max(seconds, limits.draw_look_seconds) * 1e9)
            heapq.heappush(self._prefetches, (due, branch))
            self._planned.add(branch)
            if self._prefetches[0][1] == branch:
                self._next_changed.set()

    def _seconds_to_prefetch(self) -> float:
        if not self._prefetches:
            return math.inf
        return (self._prefetches[0][0] - self._read().boot_ns) / 1e9

    def prefetch(self, clocks: ClockReading) -> None:
        """Draw for the branches that are due."""
        while self._prefetches and self._prefetches[0][0] <= clocks.boot_ns:
            _, branch = heapq.heappop(self._prefetches)
            self._planned.discard(branch)
            if branch not in self._in_progress:
                self._in_progress[branch] = DrawInProgress(None)
                self._go_on(branch, self._lease_client.prefetch(branch, clocks.boot_ns), None)

    def _answer(self, waiting: WaitingDraw, status: DrawResult) -> None:
        process, request = waiting.process, waiting.request
        if process.gone:
            return
        waiting.answer = status
        process.draws -= 1
        if status is DrawResult.EXHAUSTED:
            process.send(self._exhausted(request))
        else:
            process.send(CreditDrawn(id=request.id, status=status.value))

    def _exhausted(self, request: DrawCredit) -> CreditDrawn:
        record = self._table.branch(self._table.find(request.grant.branch_key))
        if record is None or record.refused is None:
            # Credit has just come back.
            return CreditDrawn(id=request.id, status="contended")
        _, level, used, quota = record.refused
        return CreditDrawn(
            id=request.id,
            status="exhausted",
            level=level_name(request.grant, level),
            used=used,
            quota=quota,
            window=record.window,
        )


def _granted(draw: WaitingDraw | None) -> int:
    """Return the micro-credits granted to a draw, which its call may not have reserved yet."""
    return draw.request.need if draw is not None and draw.answer is DrawResult.GRANTED else 0
