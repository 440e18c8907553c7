"""Carries operations to a ledger that takes its time: many in one transaction, one at a time.

Keeps their order, and asks again until it has an answer, so that nothing is lost while the ledger
is away; every operation may be sent twice. Decides nothing.
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import trio

from crewgate import limits
from crewgate.core.ledger import Answer, Close, GiveBack, Operation, Settle
from crewgate.errors import LedgerError, LedgerUnavailableError
from crewgate.ledger.sql import SQLLedger

R = TypeVar("R")
Then = Callable[[Answer | LedgerError], None]


@dataclass(slots=True, eq=False)
class _Errand:
    operation: Operation
    then: Then | None = None


class Clerk:
    """The only one who uses `ledger` while it runs; `now` is the wall clock in seconds."""

    def __init__(
        self, ledger: SQLLedger, now: Callable[[], float], say: Callable[[str], None]
    ) -> None:
        self.ledger = ledger
        self._now = now
        self._say = say
        self._waiting: deque[_Errand] = deque()
        self._newest: dict[tuple[type, bytes], _Errand] = {}
        self._some = trio.Event()
        self._done = trio.Event()
        self._limiter = trio.CapacityLimiter(1)
        self._trouble = ""  # why the ledger does not answer; empty while it does
        self._asked = math.inf  # since when it has been asked what it has not answered

    def __repr__(self) -> str:
        return f"<Clerk waiting={len(self._waiting)} trouble={self._trouble!r}>"

    @property
    def trouble(self) -> str:
        """Why the ledger does not answer, or for how long it has not; empty while it does."""
        if self._trouble or self._asked == math.inf:
            return self._trouble
        seconds = trio.current_time() - self._asked
        return f"no answer for {seconds:.1f} s" if seconds > limits.ledger_patience_seconds else ""

    def tell(self, operation: GiveBack | Settle | Close) -> None:
        """Nobody waits for the answer. Of what is said in totals only the newest is carried."""
        if isinstance(operation, Close):
            self._add(_Errand(operation))
            return
        name = type(operation), operation.branch
        errand = self._newest.get(name)
        if errand is not None:
            errand.operation = operation
            return
        self._newest[name] = errand = _Errand(operation)
        self._add(errand)

    def ask(self, operation: Operation, then: Then) -> None:
        """`then` is called with the answer, whenever that comes."""
        self._add(_Errand(operation, then))

    async def run(self) -> None:
        """Carry until cancelled; what was not answered by then was not lost, but may be done."""
        while True:
            if not self._waiting:
                self._done.set()
                self._some = trio.Event()
                await self._some.wait()
            await self._carry(self._take())

    async def quiet(self) -> None:
        """Until everything that was said so far is done."""
        while self._waiting or not self._done.is_set():
            await self._done.wait()

    async def use(self, act: Callable[[SQLLedger], R]) -> R:
        """Something else with the ledger, between two transactions; LedgerUnavailableError."""
        return await trio.to_thread.run_sync(act, self.ledger, limiter=self._limiter)

    def _add(self, errand: _Errand) -> None:
        self._waiting.append(errand)
        self._some.set()
        if self._done.is_set():
            self._done = trio.Event()

    def _take(self) -> list[_Errand]:
        """The next ones; what is told of their branches from now on is another errand."""
        count = min(len(self._waiting), limits.ledger_batch_max)
        batch = [self._waiting.popleft() for _ in range(count)]
        for errand in batch:
            operation = errand.operation
            if isinstance(operation, GiveBack | Settle):
                self._newest.pop((type(operation), operation.branch), None)
        return batch

    async def _carry(self, batch: list[_Errand]) -> None:
        operations, wait = [errand.operation for errand in batch], limits.ledger_again_seconds_min
        self._asked = trio.current_time()
        while True:
            try:
                answers = await trio.to_thread.run_sync(
                    self.ledger.do_all, operations, self._now(), limiter=self._limiter
                )
                break
            except LedgerUnavailableError as error:
                self._complain(str(error))
            except Exception as error:  # noqa: BLE001 - the barrier: no errand ends the agent
                if len(batch) > 1:
                    for errand in batch:
                        await self._carry([errand])
                    return
                answers = [LedgerError(f"{type(error).__name__}: {error}")]
                break
            await trio.sleep(wait)
            wait = min(2 * wait, limits.ledger_again_seconds_max)
        self._asked = math.inf
        if self._trouble:
            self._trouble = ""
            self._say("the ledger answers again")
        for errand, answer in zip(batch, answers, strict=True):
            if errand.then is not None:
                self._tell(errand.then, answer)
            elif isinstance(answer, LedgerError):
                self._say(f"the ledger refused what it was told: {answer}")

    def _tell(self, then: Then, answer: Answer | LedgerError) -> None:
        try:
            then(answer)
        except Exception as error:  # noqa: BLE001 - the barrier again
            self._say(f"a fault of ours with the ledger's answer: {error!r}")

    def _complain(self, why: str) -> None:
        if why != self._trouble:
            self._say(f"the ledger does not answer: {why}; calls go on while their leases last")
        self._trouble = why
