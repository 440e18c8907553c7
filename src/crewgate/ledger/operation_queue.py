"""Carries operations to a ledger that takes its time: many in one transaction, one at a time.

Keeps their order, but for the ends of branches in a storm, and asks again until it has an answer,
so that nothing is lost while the ledger is away; every operation may be sent twice. Decides
nothing.
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
    ReturnCredit,
    SettleLease,
)
from crewgate.core.ids import KEY_BYTES
from crewgate.errors import LedgerError, LedgerUnavailableError
from crewgate.ledger.sql import SQLLedger

_log = logging.getLogger(__name__)
R = TypeVar("R")
Then = Callable[[OperationResult | LedgerError], None]
Answers = list[OperationResult | LedgerError]


@dataclass(slots=True, eq=False)
class _PendingOperation:
    operation: Operation
    then: Then | None = None


class LedgerQueue:
    """The only one who uses `ledger` while it runs; `now` is the wall clock in seconds.

    A thread of its own takes what is asked directly from who asks, and answers into the event loop:
    a task between them would have to be woken twice, while a branch's first call waits.
    """

    def __init__(
        self,
        ledger: SQLLedger,
        now: Callable[[], float],
        *,
        patience_seconds: float = limits.ledger_patience_seconds,
    ) -> None:
        """A ledger that has not answered for `patience_seconds` is in trouble."""
        self.ledger = ledger
        self._patience = patience_seconds
        self._now = now
        self._waiting: deque[_PendingOperation] = deque()
        # Keys of branches whose ends, in a storm of them, nobody waits for: there may be a million.
        self._flood = bytearray()
        self._newest: dict[tuple[type, bytes], _PendingOperation] = {}
        self._carried: list[_PendingOperation] = []  # at the ledger now, or to be taken there again
        self._loop: trio.lowlevel.TrioToken | None = None  # while it runs
        self._work_queue: SimpleQueue[list[_PendingOperation] | None] = SimpleQueue()
        self._alone = threading.Lock()  # whoever holds it uses the ledger
        self._failed = trio.Event()
        self._done = trio.Event()
        self._limiter = trio.CapacityLimiter(1)
        self._pause = limits.ledger_again_seconds_min
        self._trouble = ""  # why the ledger does not answer; empty while it does
        self._copy_at = math.inf  # when the file is to have what was committed, by time.monotonic
        self._asked = math.inf  # since when it has been asked what it has not answered

    def __repr__(self) -> str:
        return f"<LedgerQueue waiting={len(self._waiting)} trouble={self._trouble!r}>"

    @property
    def unavailable_reason(self) -> str:
        """Why the ledger does not answer, or for how long it has not; empty while it does."""
        if self._trouble or self._asked == math.inf:
            return self._trouble
        seconds = trio.current_time() - self._asked
        return f"no answer for {seconds:.1f} s" if seconds > self._patience else ""

    def submit(self, operation: ReturnCredit | SettleLease | CloseBranch) -> None:
        """Nobody waits for the answer. Of what is said in totals only the newest is carried."""
        if isinstance(operation, CloseBranch):
            if len(self._waiting) < limits.ledger_batch_max:
                self._add(_PendingOperation(operation))
            else:  # draws that come after go before them: a branch's end is in the table already
                self._flood += operation.key
            return
        name = type(operation), operation.branch
        errand = self._newest.get(name)
        if errand is not None:
            errand.operation = operation
            return
        self._newest[name] = errand = _PendingOperation(operation)
        self._add(errand)

    def ask(self, operation: Operation, then: Then) -> None:
        """`then` is called with the answer, whenever that comes, and never within this call."""
        self._add(_PendingOperation(operation, then))

    async def run(self) -> None:
        """Carry until cancelled; what was not answered by then was not lost, but may be done."""
        loop = self._loop = trio.lowlevel.current_trio_token()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._try_again)
                self._carry()
                await trio.to_thread.run_sync(self._work, loop, limiter=trio.CapacityLimiter(1))
        finally:
            self._loop = None

    async def quiet(self) -> None:
        """Until everything that was said so far is done."""
        while self._waiting or self._flood or self._carried:
            await self._done.wait()

    async def use(self, act: Callable[[SQLLedger], R]) -> R:
        """Something else with the ledger, between two transactions; LedgerUnavailableError."""

        def work() -> R:
            with self._alone:
                return act(self.ledger)

        return await trio.to_thread.run_sync(work, limiter=self._limiter)

    # In the event loop.

    def _add(self, operation: _PendingOperation) -> None:
        self._waiting.append(operation)
        if self._done.is_set():
            self._done = trio.Event()
        self._carry()

    def _carry(self) -> None:
        """Take the next ones to the ledger, unless it has some already."""
        if self._loop is None or self._carried:
            return
        if not self._waiting and not self._flood:
            self._done.set()
            return
        self._carried = self._take()
        self._asked = trio.current_time()
        self._work_queue.put(self._carried)

    def _take(self) -> list[_PendingOperation]:
        """The next ones; what is told of their branches from now on is another errand."""
        flood = len(self._flood) // KEY_BYTES
        share = min(flood, limits.ledger_batch_max // 4)  # if there is more besides
        count = min(len(self._waiting), limits.ledger_batch_max - share)
        batch = [self._waiting.popleft() for _ in range(count)]
        keys = bytes(self._flood[: (limits.ledger_batch_max - count) * KEY_BYTES])
        del self._flood[: len(keys)]
        ends = (keys[at : at + KEY_BYTES] for at in range(0, len(keys), KEY_BYTES))
        batch += [_PendingOperation(CloseBranch(key)) for key in ends]
        for errand in batch:
            operation = errand.operation
            if isinstance(operation, ReturnCredit | SettleLease):
                self._newest.pop((type(operation), operation.branch), None)
        return batch

    async def _try_again(self) -> None:
        """Take to the ledger what it did not answer, after a pause; at the end, close the desk."""
        try:
            while True:
                await self._failed.wait()
                self._failed = trio.Event()
                await trio.sleep(self._pause)
                self._pause = min(2 * self._pause, limits.ledger_again_seconds_max)
                self._work_queue.put(self._carried)
        finally:
            self._work_queue.put(None)

    def _on_answer(self, answers: Answers | LedgerUnavailableError) -> None:
        """What became of the errands that were carried."""
        if self._loop is None:
            return
        if isinstance(answers, LedgerUnavailableError):
            self._complain(str(answers))
            self._failed.set()
            return
        self._asked, self._pause = math.inf, limits.ledger_again_seconds_min
        if self._trouble:
            self._trouble = ""
            _log.info("the ledger answers again")
        for operation, answer in zip(self._carried, answers, strict=True):
            if operation.then is not None:
                self._submit(operation.then, answer)
            elif isinstance(answer, LedgerError):
                _log.warning("the ledger refused what it was told: %s", answer)
        self._carried = []  # only now: what the answers lead to goes together
        self._carry()

    def _submit(self, then: Then, answer: OperationResult | LedgerError) -> None:
        try:
            then(answer)
        except Exception as error:  # noqa: BLE001 - the barrier: no errand ends the agent
            _log.warning("a fault of ours with the ledger's answer: %r", error)

    def _complain(self, why: str) -> None:
        if why != self._trouble:
            _log.warning("the ledger does not answer: %s; calls go on while their leases last", why)
        self._trouble = why

    # In the thread.

    def _work(self, loop: trio.lowlevel.TrioToken) -> None:
        while (batch := self._next()) is not None:
            answers: Answers | LedgerUnavailableError
            try:
                answers = self._do([operation.operation for operation in batch])
            except LedgerUnavailableError as error:
                answers = error
            loop.run_sync_soon(self._on_answer, answers)

    def _next(self) -> list[_PendingOperation] | None:
        """What is to be done next, or None at the end; the file is brought up to date when due."""
        while True:
            left = self._copy_at - time.monotonic()
            if left <= 0:
                self._copy()
                continue
            try:
                return self._work_queue.get(timeout=None if left == math.inf else left)
            except Empty:
                continue

    def _copy(self) -> None:
        self._copy_at = math.inf
        with suppress(LedgerUnavailableError), self._alone:  # the next batch says what is wrong
            self.ledger.session.checkpoint()

    def _do(self, operations: Sequence[Operation]) -> Answers:
        """All in one transaction; LedgerUnavailableError, and then some may have been done."""
        try:
            with self._alone:
                answers = self.ledger.do_all(operations, self._now())
            self._copy_at = min(self._copy_at, time.monotonic() + limits.ledger_copied_seconds)
            return answers
        except LedgerUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - the barrier again: one spoils no other
            if len(operations) > 1:
                return [self._do([operation])[0] for operation in operations]
            return [LedgerError(f"{type(error).__name__}: {error}")]
