"""Carries operations to a slow ledger: many in one transaction, one transaction at a time.

Keeps the order of operations, except that closings may wait when there are very many. If the ledger
is unavailable, the queue keeps the operations and sends them again until it has an answer: every
operation may be done twice. Decides nothing.
"""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TypeVar

import trio

from crewgate import limits
from crewgate.core.budget.ledger_protocol import (
    CloseBranch,
    Operation,
    OperationResult,
    ReportLeaseUsage,
    ReturnCredit,
)
from crewgate.core.ids import KEY_BYTES
from crewgate.errors import InvalidLedgerOperationError, LedgerUnavailableError
from crewgate.ledger.sql import SQLLedger

_log = logging.getLogger(__name__)
R = TypeVar("R")
Then = Callable[[OperationResult | InvalidLedgerOperationError], None]
Answers = list[OperationResult | InvalidLedgerOperationError]


@dataclass(slots=True, eq=False)
class _PendingOperation:
    operation: Operation
    then: Then | None = None


class LedgerQueue:
    """The queue in front of a ledger, and the only user of `ledger` while it runs.

    `now` returns the wall clock in seconds. A thread of the queue takes operations from the caller
    and brings the answers into the event loop. A task between them would have to wake twice while a
    branch's first call waits.
    """

    def __init__(
        self,
        ledger: SQLLedger,
        now: Callable[[], float],
        *,
        patience_seconds: float = limits.ledger_patience_seconds,
    ) -> None:
        """A ledger counts as unavailable if it has not answered for `patience_seconds`."""
        self.ledger = ledger
        self._patience = patience_seconds
        self._now = now
        self._waiting: deque[_PendingOperation] = deque()
        # The keys of closings beyond one transaction, end to end: there may be a million of them.
        self._closings = bytearray()
        # The waiting return and report of each branch; a newer total replaces an older one.
        self._newest: dict[tuple[type, bytes], _PendingOperation] = {}
        # The batch that the ledger has now, or that the queue sends again.
        self._batch: list[_PendingOperation] = []
        # The event loop, while the queue runs.
        self._loop: trio.lowlevel.TrioToken | None = None
        self._work_queue: SimpleQueue[list[_PendingOperation] | None] = SimpleQueue()
        # The holder of this lock uses the ledger.
        self._lock = threading.Lock()
        self._failed = trio.Event()
        self._done = trio.Event()
        self._limiter = trio.CapacityLimiter(1)
        self._pause = limits.ledger_again_seconds_min
        # Why the ledger does not answer; empty while it does.
        self._trouble = ""
        # When to copy committed operations into the database's own file (time.monotonic).
        self._checkpoint_at = math.inf
        # When the queue sent the batch that has no answer yet (Trio's clock).
        self._sent_at = math.inf
        # Called after each transaction: its operations, their answers, and how long it took.
        self.on_transaction: list[Callable[[list[Operation], Answers, float], None]] = []

    def __len__(self) -> int:
        """Return how many operations wait for the ledger, or are in its hands."""
        return len(self._waiting) + len(self._closings) // KEY_BYTES + len(self._batch)

    @property
    def unavailable_reason(self) -> str:
        """Why the ledger does not answer, or for how long it has not; empty while it does."""
        if self._trouble or self._sent_at == math.inf:
            return self._trouble
        seconds = trio.current_time() - self._sent_at
        return f"no answer for {seconds:.1f} s" if seconds > self._patience else ""

    def submit(self, operation: ReturnCredit | ReportLeaseUsage | CloseBranch) -> None:
        """Send an operation whose answer nobody waits for.

        If a return or report of the same branch still waits, the new one takes its place: both hold
        totals.
        """
        if isinstance(operation, CloseBranch):
            if len(self._waiting) < limits.ledger_batch_max:
                self._add(_PendingOperation(operation))
            else:
                # Later draws may overtake these: the table has closed the branch already.
                self._closings += operation.key
            return
        name = type(operation), operation.branch
        pending = self._newest.get(name)
        if pending is not None:
            pending.operation = operation
            return
        self._newest[name] = pending = _PendingOperation(operation)
        self._add(pending)

    def ask(self, operation: Operation, then: Then) -> None:
        """Send an operation, and later call `then` with its answer, in the event loop.

        The queue never calls `then` within this call.
        """
        self._add(_PendingOperation(operation, then))

    async def run(self) -> None:
        """Carry operations until cancelled; the ledger may have done some that have no answer."""
        loop = self._loop = trio.lowlevel.current_trio_token()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._retry)
                self._send_next()
                await trio.to_thread.run_sync(self._work, loop, limiter=trio.CapacityLimiter(1))
        finally:
            self._loop = None

    async def quiet(self) -> None:
        """Wait until the ledger has done every operation so far."""
        while self._waiting or self._closings or self._batch:
            await self._done.wait()

    async def use(self, act: Callable[[SQLLedger], R]) -> R:
        """Call `act` with the ledger in a thread, between two transactions.

        Raises LedgerUnavailableError.
        """

        def work() -> R:
            with self._lock:
                return act(self.ledger)

        return await trio.to_thread.run_sync(work, limiter=self._limiter)

    # These methods run in the event loop.

    def _add(self, operation: _PendingOperation) -> None:
        self._waiting.append(operation)
        if self._done.is_set():
            self._done = trio.Event()
        self._send_next()

    def _send_next(self) -> None:
        """Send the next batch, unless the ledger still has one."""
        if self._loop is None or self._batch:
            return
        if not self._waiting and not self._closings:
            self._done.set()
            return
        self._batch = self._take()
        self._sent_at = trio.current_time()
        self._work_queue.put(self._batch)

    def _take(self) -> list[_PendingOperation]:
        """Take the next batch; later totals of its branches go into another batch.

        Closings beyond one transaction get at least a quarter of it, and any room that is left.
        """
        share = min(len(self._closings) // KEY_BYTES, limits.ledger_batch_max // 4)
        count = min(len(self._waiting), limits.ledger_batch_max - share)
        batch = [self._waiting.popleft() for _ in range(count)]
        keys = bytes(self._closings[: (limits.ledger_batch_max - count) * KEY_BYTES])
        del self._closings[: len(keys)]
        closed = (keys[at : at + KEY_BYTES] for at in range(0, len(keys), KEY_BYTES))
        batch += [_PendingOperation(CloseBranch(key)) for key in closed]
        for pending in batch:
            operation = pending.operation
            if isinstance(operation, ReturnCredit | ReportLeaseUsage):
                self._newest.pop((type(operation), operation.branch), None)
        return batch

    async def _retry(self) -> None:
        """Send a failed batch again after a pause; when cancelled, end the thread."""
        try:
            while True:
                await self._failed.wait()
                self._failed = trio.Event()
                await trio.sleep(self._pause)
                self._pause = min(2 * self._pause, limits.ledger_again_seconds_max)
                self._work_queue.put(self._batch)
        finally:
            self._work_queue.put(None)

    def _on_answer(self, answers: Answers | LedgerUnavailableError) -> None:
        """Handle the answers to the batch, or the failure of its transaction."""
        if self._loop is None:
            return
        if isinstance(answers, LedgerUnavailableError):
            self._log_trouble(str(answers))
            self._failed.set()
            return
        seconds = trio.current_time() - self._sent_at
        operations = [each.operation for each in self._batch]
        for observe in self.on_transaction:
            observe(operations, answers, seconds)
        self._sent_at, self._pause = math.inf, limits.ledger_again_seconds_min
        if self._trouble:
            self._trouble = ""
            _log.info("the ledger answers again")
        for pending, answer in zip(self._batch, answers, strict=True):
            if pending.then is not None:
                self._call(pending.then, answer)
            elif isinstance(answer, InvalidLedgerOperationError):
                name = type(pending.operation).__name__
                _log.warning("the ledger refused %s: %s", name, answer)
        # Cleared only now, so that all operations which the answers caused go in one batch.
        self._batch = []
        self._send_next()

    def _call(self, then: Then, answer: OperationResult | InvalidLedgerOperationError) -> None:
        try:
            then(answer)
        except Exception as error:  # noqa: BLE001 - no operation may end the agent
            _log.warning("internal error with an answer of the ledger: %r", error)

    def _log_trouble(self, why: str) -> None:
        if why != self._trouble:
            _log.warning(
                "the ledger does not answer: %s; calls continue while their leases last", why
            )
        self._trouble = why

    # These methods run in the thread.

    def _work(self, loop: trio.lowlevel.TrioToken) -> None:
        while (batch := self._next()) is not None:
            answers: Answers | LedgerUnavailableError
            try:
                answers = self._do([pending.operation for pending in batch])
            except LedgerUnavailableError as error:
                answers = error
            loop.run_sync_soon(self._on_answer, answers)

    def _next(self) -> list[_PendingOperation] | None:
        """Return the next batch, or None at the end; meanwhile, do a checkpoint when it is due."""
        while True:
            left = self._checkpoint_at - time.monotonic()
            if left <= 0:
                self._checkpoint()
                continue
            try:
                return self._work_queue.get(timeout=None if left == math.inf else left)
            except Empty:
                continue

    def _checkpoint(self) -> None:
        self._checkpoint_at = math.inf
        # If the checkpoint fails, the next batch fails too and reports why.
        with suppress(LedgerUnavailableError), self._lock:
            self.ledger.session.checkpoint()

    def _do(self, operations: Sequence[Operation]) -> Answers:
        """Do all operations in one transaction.

        Raises LedgerUnavailableError; the ledger may have done some of them then. After any other
        error, do each operation alone, so that one cannot make the others fail.
        """
        try:
            with self._lock:
                answers = self.ledger.do_all(operations, self._now())
            due = time.monotonic() + limits.ledger_copied_seconds
            self._checkpoint_at = min(self._checkpoint_at, due)
            return answers
        except LedgerUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - no operation may end the agent
            if len(operations) > 1:
                return [self._do([operation])[0] for operation in operations]
            return [InvalidLedgerOperationError(f"{type(error).__name__}: {error}")]
