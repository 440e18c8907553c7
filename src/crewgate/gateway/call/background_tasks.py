"""What calls in flight wait for, in tasks of their own: credit for a stream, a time that is up.

A barrier stands round each: what goes wrong there ends that call's wait, and nobody else's.
"""

import logging
from collections.abc import Awaitable, Callable

import trio

from crewgate.core.tokens.grant import Grant
from crewgate.gateway.call.interfaces import DrawCallback
from crewgate.ipc.attach_messages import CreditDrawn

_log = logging.getLogger(__name__)
DrawRequest = Callable[[], Awaitable[CreditDrawn | None]]
NotifyOverrun = Callable[[bytes, Grant, int], None]


class BackgroundTasks:
    """The errands of one worker; they live in `run`, and nothing is begun outside it."""

    def __init__(self, wait_seconds: float, tell: NotifyOverrun) -> None:
        """A draw is waited for `wait_seconds`; `tell` takes overruns to the agent."""
        self._wait_seconds = wait_seconds
        self._notify_overrun = tell
        self._nursery: trio.Nursery | None = None

    def __repr__(self) -> str:
        count = len(self._nursery.child_tasks) if self._nursery else 0
        return f"<BackgroundTasks {count} under way>"

    async def run(self) -> None:
        """Do errands until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None

    def draw(self, ask: DrawRequest, done: DrawCallback) -> None:
        """Have `ask` answered, within the time for that; else the answer is None."""
        if self._nursery is None:
            done(None)
        else:
            self._nursery.start_soon(self._draw, ask, done)

    def later(self, seconds: float, work: Callable[[], None]) -> Callable[[], None]:
        """Call `work` after so long; what is returned takes that back."""
        scope = trio.CancelScope()
        if self._nursery is not None:
            self._nursery.start_soon(self._later, scope, seconds, work)
        return scope.cancel

    def overran(self, request: bytes, grant: Grant, amount: int) -> None:
        """Tell the agent."""
        self._notify_overrun(request, grant, amount)

    async def _draw(self, ask: DrawRequest, done: DrawCallback) -> None:
        drawn = None
        try:
            with trio.move_on_after(self._wait_seconds):
                drawn = await ask()
        except Exception as error:  # noqa: BLE001 - a barrier: this stream is cut, others go on
            _log.warning("a draw for a stream failed: %r", error)
        self._do(lambda: done(drawn))

    async def _later(
        self, scope: trio.CancelScope, seconds: float, work: Callable[[], None]
    ) -> None:
        with scope:
            await trio.sleep(seconds)
            self._do(work)

    def _do(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - a barrier, as above
            _log.warning("a call could not be brought on: %r", error)
