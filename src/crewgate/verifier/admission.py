"""How a call waits for credit: judge, draw, wait until the draw ends, judge again.

Decides when waiting may still help. Waits for nothing itself: whoever admits a call waits, in a
thread or in a task, for what `Admission.waits` yields.
"""

import time
from collections.abc import Callable, Generator, Iterator
from typing import Generic, Protocol, TypeVar

from crewgate._native.permit import Permit
from crewgate.core.verdict import Denial
from crewgate.leases.lease_client import DrawResult
from crewgate.verifier.loaded_policy import DecisionRequest, LoadedPolicy, needs_credit
from crewgate.verifier.waiters import DrawWaiter

W = TypeVar("W", bound=DrawWaiter)


class VerdictSource(Protocol):
    """Where a verifier's judge and credit come from."""

    judge: LoadedPolicy
    wait_seconds: float

    def try_fund(self, request: DecisionRequest, denial: Denial) -> Permit | Denial:
        """Do what can be done without waiting for a call that lacks credit."""

    def start_draw(self, request: DecisionRequest, denial: Denial, waiter: DrawWaiter) -> bool:
        """See that a draw is under way whose end rings `waiter`."""

    def close(self) -> None:
        """Let go of everything."""

    def after_fork(self) -> None:
        """The process is a copy of the one that made it."""


class Admission(Generic[W]):
    """One call; `verdict` is there once `waits` has ended."""

    verdict: Permit | Denial

    def __init__(
        self,
        source: VerdictSource,
        request: DecisionRequest | Denial,
        make_waiter: Callable[[], W],
    ) -> None:
        self._source = source
        self._request = request
        self._make_waiter = make_waiter

    def waits(self) -> Iterator[tuple[W, float]]:
        """Yield what to wait for, and for how many seconds, as long as a draw may help."""
        request = self._request
        if isinstance(request, Denial):
            self.verdict = request
        else:
            self.verdict = yield from self._attempts(request)

    def _attempts(
        self, request: DecisionRequest
    ) -> Generator[tuple[W, float], None, Permit | Denial]:
        # Every answer is a reason to judge again, also one to a smaller need of another call.
        verdict = request.ask()
        until = time.monotonic() + self._source.wait_seconds
        while isinstance(verdict, Denial) and needs_credit(verdict):
            waiter = self._make_waiter()
            left = until - time.monotonic()
            if left <= 0 or not self._source.start_draw(request, verdict, waiter):
                break
            yield waiter, left
            if waiter.status is not DrawResult.GRANTED:
                return request.after_draw(verdict, waiter.status)
            verdict = request.ask()
        if isinstance(verdict, Denial) and verdict.retry:
            return self._source.try_fund(request, verdict)
        return verdict
