"""Draws: from a guest's ask to its answer, with a bounded wait for credit that others hold.

Decides nothing about credit, which is the lessor's; decides only when to ask it again. Knows no
clock: times are CLOCK_BOOTTIME nanoseconds that come as arguments.
"""

import heapq
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import trio

from crewgate import limits
from crewgate._native.table_owner import OwnedTable
from crewgate.agent.anomaly.minting_watch import MintingWatch
from crewgate.agent.branch_registry import BranchRegistry
from crewgate.agent.grant_validation import check, level_name
from crewgate.agent.ipc_server.attachments import AttachedProcess
from crewgate.agent.revocation.types import ClockReading
from crewgate.core.budget.ledger_protocol import BranchesOpened, OperationResult
from crewgate.errors import LedgerProtocolError, LinkError
from crewgate.ipc.attach_messages import CreditDrawn, DrawCredit
from crewgate.leases.lease_client import DrawResult, LeaseClient, LedgerCalls
from crewgate.ledger.operation_queue import LedgerQueue

_log = logging.getLogger(__name__)
_FULL_NS = round(limits.table_full_seconds * 1e9)
_AGAIN_NS = round(limits.draw_again_seconds * 1e9)
# With these the branch has a record, so the registry may know it.
_OPENED = {DrawResult.GRANTED, DrawResult.EXHAUSTED, DrawResult.CONTENDED}


@dataclass(slots=True, eq=False)
class WaitingDraw:
    """A draw that was not answered yet, and until when it may be tried."""

    process: AttachedProcess
    ask: DrawCredit
    until_ns: int
    answered: bool = False


@dataclass(slots=True, eq=False)
class DrawInProgress:
    """What the ledger is being asked for one branch: who began it, and who came meanwhile."""

    first: WaitingDraw | None  # nobody, where it is drawn ahead
    others: deque[WaitingDraw] = field(default_factory=deque)

    def join(self, waiting: WaitingDraw) -> None:
        """Wait for the outcome; those who were told otherwise already are let go."""
        while self.others and self.others[0].answered:
            self.others.popleft()
        self.others.append(waiting)


class Draws:
    """The draws of all guests; a guest that asks for too many at once is told to try again.

    The ledger is asked about one draw of a branch at a time: those that come meanwhile wait for
    that one, and are tried again after it. A wait is bounded, whatever the ledger does, and ends as
    soon as the ledger is known not to answer; what comes too late for the call that asked is in the
    lease for the next.
    """

    def __init__(
        self,
        table: OwnedTable,
        lease_client: LeaseClient,
        ledger_queue: LedgerQueue,
        registry: BranchRegistry,
        watching: MintingWatch,
        wait_seconds: float,
        *,
        read: Callable[[], ClockReading],
    ) -> None:
        self._table = table
        self._lease_client = lease_client
        self._ledger_queue = ledger_queue
        self._registry = registry
        self._watching = watching
        self._read = read
        self._wait_ns = round(wait_seconds * 1e9)
        self._waiting: deque[WaitingDraw] = deque()  # all, the first to be answered first
        self._contended: deque[WaitingDraw] = deque()
        self._talks: dict[bytes, DrawInProgress] = {}
        self._ahead: list[tuple[int, bytes]] = []  # a heap of when to look at whom
        self._planned: set[bytes] = set()
        self._generation = -1
        self._tried_ns = 0
        self._full_ns: int | None = None  # when the table was last found full
        self._some = trio.Event()
        self._busy = trio.Event()

    @property
    def found_full(self) -> bool:
        """The table had no record left for a branch, a moment ago."""
        since = self._full_ns
        return since is not None and self._read().boot_ns - since < _FULL_NS

    async def wait(self) -> None:
        """Until there is a draw that waits."""
        if not self._waiting:
            self._some = trio.Event()
            await self._some.wait()

    async def busy(self) -> None:
        """Until there is a branch to be drawn for ahead of its calls."""
        if not self._ahead:
            self._busy = trio.Event()
            await self._busy.wait()

    def ask(self, process: AttachedProcess, ask: DrawCredit, clocks: ClockReading) -> None:
        """Answer, or wait; LinkError if the ask contradicts itself."""
        check(ask.grant)
        if not 0 <= ask.need <= limits.price_micro_max:
            raise LinkError(f"a draw of {ask.need} micro-credits, which no call can need")
        if process.draws >= limits.link_draws_max:
            process.send(CreditDrawn(id=ask.id, status=DrawResult.CONTENDED.value))
            return
        process.draws += 1
        waiting = WaitingDraw(process, ask, clocks.boot_ns + self._wait_ns)
        if not self._overdraw(waiting):
            self._begin(waiting, clocks)  # also then: the next call finds what is drawn
        if not waiting.answered and self._ledger_queue.unavailable_reason:
            self._answer(waiting, DrawResult.CONTENDED)
        if not waiting.answered:
            self._waiting.append(waiting)
            self._some.set()

    def retry(self, clocks: ClockReading) -> None:
        """Try those that wait for credit, in order: at once when it came back, else now and then.

        Who has waited long enough is answered, and everybody once the ledger does not answer.
        """
        generation = self._table.credit_generation
        due = clocks.boot_ns - self._tried_ns >= _AGAIN_NS
        if generation != self._generation or due:
            self._generation, self._tried_ns = generation, clocks.boot_ns
            for _ in range(len(self._contended)):
                self._begin(self._contended.popleft(), clocks)
        while self._waiting and self._is_over(self._waiting[0], clocks):
            waiting = self._waiting.popleft()
            if not waiting.answered and not self._overdraw(waiting):
                self._answer(waiting, DrawResult.CONTENDED)

    def hurry(self, clocks: ClockReading) -> None:
        """Credit came back on another machine: try now, whatever was tried a moment ago."""
        self._generation = -1
        self.retry(clocks)

    def _overdraw(self, waiting: WaitingDraw) -> bool:
        """Let a call go on for which the ledger cannot be asked, if that is what is wanted."""
        if not self._ledger_queue.unavailable_reason:
            return False
        key, need = waiting.ask.grant.branch_key, waiting.ask.need
        is_lent = self._lease_client.overdraft.overdraw(key, need)
        if is_lent:
            self._answer(waiting, DrawResult.GRANTED)
        return is_lent

    def settle_overdraft(self) -> None:
        """Have the ledger charge what was lent while it was away; to be called once a second."""
        if self._ledger_queue.unavailable_reason:
            return
        for key in self._lease_client.overdraft.owing:
            if key not in self._talks:
                self._talks[key] = DrawInProgress(None)
                self._go_on(key, self._lease_client.settle_overdraft(key), None)

    def _is_over(self, waiting: WaitingDraw, clocks: ClockReading) -> bool:
        is_late = clocks.boot_ns >= waiting.until_ns
        is_left = waiting.answered or waiting.process.gone
        return is_left or is_late or bool(self._ledger_queue.unavailable_reason)

    def _begin(self, waiting: WaitingDraw, clocks: ClockReading) -> None:
        """Draw for it, or have it wait for who draws for the same branch."""
        if waiting.answered or waiting.process.gone:
            return
        grant, need = waiting.ask.grant, waiting.ask.need
        talk = self._talks.get(grant.branch_key)
        if talk is not None:
            talk.join(waiting)
            return
        if len(self._talks) >= limits.draw_talks_max:
            self._answer(waiting, DrawResult.CONTENDED)
            return
        # A throttled or quarantined orchestrator draws nothing. That is a 503 and not a 401:
        # a watch suspects and proves nothing, and what a person may lift must not end a branch.
        if not self._watching.admits(grant, clocks):
            self._answer(waiting, DrawResult.HELD)
            return
        self._talks[grant.branch_key] = DrawInProgress(waiting)
        steps = self._lease_client.steps(grant, need, clocks.wall, clocks.boot_ns)
        self._go_on(grant.branch_key, steps, None)

    def _go_on(
        self, branch: bytes, steps: LedgerCalls, answer: OperationResult | LedgerProtocolError
    ) -> None:
        """Tell the lessor what the ledger said, until it knows how the draw has ended."""
        try:
            if isinstance(answer, BranchesOpened) and not self._is_wanted(branch):
                steps.close()  # the ledger took so long that nobody waits: it is asked anew
                self._lease_client.decline(answer)
                self._end(branch, DrawResult.CONTENDED)
                return
            if isinstance(answer, LedgerProtocolError):
                operation = steps.throw(answer)
            else:
                operation = steps.send(answer)
        except StopIteration as end:
            self._end(branch, end.value)
        except LedgerProtocolError as error:
            _log.warning("a draw that the ledger refuses: %s", error)
            self._end(branch, DrawResult.CONTENDED)
        except Exception as error:  # noqa: BLE001 - a barrier: whoever waits for this draw asks again
            _log.warning("a fault of ours in a draw: %r", error)
            self._end(branch, DrawResult.CONTENDED)
        else:
            self._ledger_queue.ask(operation, partial(self._go_on, branch, steps))

    def _is_wanted(self, branch: bytes) -> bool:
        talk = self._talks[branch]
        waiting = (*talk.others, *([talk.first] if talk.first else ()))
        return any(not each.answered and not each.process.gone for each in waiting)

    def _end(self, branch: bytes, status: DrawResult) -> None:
        """The first of those that wait has its outcome; the others are tried with what is there."""
        talk, clocks = self._talks.pop(branch), self._read()
        if status is DrawResult.FULL:
            self._full_ns = clocks.boot_ns
        if status is DrawResult.GRANTED:
            self._plan(branch, clocks)
        first = talk.first
        if first is not None and status in _OPENED:
            self._registry.learn(first.ask.grant)
        if first is not None and not first.answered:
            if status is DrawResult.CONTENDED and not self._is_over(first, clocks):
                self._contended.append(first)
            else:
                self._answer(first, status)
        for other in talk.others:
            self._begin(other, clocks)

    def _plan(self, branch: bytes, clocks: ClockReading) -> None:
        """Look again when half of its lease should be spent, so that no call finds it empty."""
        seconds = self._lease_client.seconds_left(branch)
        if seconds <= limits.draw_ahead_seconds_max and branch not in self._planned:
            due = clocks.boot_ns + round(max(seconds, limits.draw_look_seconds) * 1e9)
            heapq.heappush(self._ahead, (due, branch))
            self._planned.add(branch)
            self._busy.set()

    def prefetch(self, clocks: ClockReading) -> None:
        """Draw for those whose time has come; to be called every few milliseconds."""
        while self._ahead and self._ahead[0][0] <= clocks.boot_ns:
            _, branch = heapq.heappop(self._ahead)
            self._planned.discard(branch)
            if branch not in self._talks:
                self._talks[branch] = DrawInProgress(None)
                self._go_on(branch, self._lease_client.prefetch(branch, clocks.boot_ns), None)

    def _answer(self, waiting: WaitingDraw, status: DrawResult) -> None:
        waiting.answered = True
        process, ask = waiting.process, waiting.ask
        if process.gone:
            return
        process.draws -= 1
        if status is DrawResult.EXHAUSTED:
            process.send(self._exhausted(ask))
        else:
            process.send(CreditDrawn(id=ask.id, status=status.value))

    def _exhausted(self, ask: DrawCredit) -> CreditDrawn:
        record = self._table.branch(self._table.find(ask.grant.branch_key))
        if record is None or record.refused is None:  # credit came back in this moment
            return CreditDrawn(id=ask.id, status="contended")
        _, level, used, quota = record.refused
        return CreditDrawn(
            id=ask.id,
            status="exhausted",
            level=level_name(ask.grant, level),
            used=used,
            quota=quota,
            window=record.window,
        )
