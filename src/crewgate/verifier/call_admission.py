"""Admits a call that may lack credit: decide, draw, wait until the draw ends, decide again.

`CallAdmission.waits` yields what to wait for as long as that may help; the caller waits, in a
thread or in a task.
"""

import time
from collections.abc import Callable, Generator, Iterator
from typing import Generic, Protocol, TypeVar

from crewgate._native.permit import Permit
from crewgate.core.verdict import Denial
from crewgate.leases.lease_client import DrawResult
from crewgate.verifier.loaded_gate import GateRequest, LoadedGate, needs_credit
from crewgate.verifier.waiters import DrawWaiter

W = TypeVar("W", bound=DrawWaiter)


class VerdictSource(Protocol):
    """The source of a verifier's gate and credit."""

    judge: LoadedGate
    wait_seconds: float

    def try_fund(self, request: GateRequest, denial: Denial) -> Permit | Denial:
        """Try to get credit without waiting; return the verdict."""

    def start_draw(self, request: GateRequest, denial: Denial, waiter: DrawWaiter) -> bool:
        """Draw unless a draw is under way; its end notifies `waiter`.

        False if there is nothing to wait for.
        """

    def open_proofs(self) -> None:
        """Make room for the DPoP proofs of now, unless another process does that."""

    def close(self) -> None:
        """Release everything, and refuse all calls from now on."""

    def after_fork(self) -> None:
        """Prepare for use in a child process, after fork."""


class CallAdmission(Generic[W]):
    """The admission of one call; `verdict` is set once `waits` has ended."""

    verdict: Permit | Denial

    def __init__(
        self,
        source: VerdictSource,
        request: GateRequest | Denial,
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

    def _attempts(self, request: GateRequest) -> Generator[tuple[W, float], None, Permit | Denial]:
        # Decide again after every grant, even one of a smaller amount for another call.
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
