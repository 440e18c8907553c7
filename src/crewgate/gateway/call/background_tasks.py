"""Runs the tasks that calls in flight wait for: draws of credit, and timers.

An exception in one task is logged and ends that task only.
"""

import logging
from collections.abc import Awaitable, Callable

import trio

from crewgate.core.tokens.grant import Grant
from crewgate.gateway.call.authorizer import DrawCallback
from crewgate.ipc.attach_messages import CreditDrawn

_log = logging.getLogger(__name__)
DrawRequest = Callable[[], Awaitable[CreditDrawn | None]]
ReportOverrun = Callable[[bytes, Grant, int], None]


class BackgroundTasks:
    """The background tasks of one worker. They run while `run` does; otherwise none starts."""

    def __init__(self, wait_seconds: float, report_overrun: ReportOverrun) -> None:
        """A draw may take `wait_seconds`.

        `report_overrun` tells the agent that a call (its id) cost so many micro-credits beyond its
        bound.
        """
        self._wait_seconds = wait_seconds
        self.report_overrun = report_overrun
        self._nursery: trio.Nursery | None = None

    async def run(self) -> None:
        """Run the tasks until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None

    def draw(self, ask: DrawRequest, done: DrawCallback) -> None:
        """Await `ask` and pass its result to `done`; None if it fails or takes too long."""
        if self._nursery is None:
            done(None)
        else:
            self._nursery.start_soon(self._draw, ask, done)

    def later(self, seconds: float, work: Callable[[], None]) -> Callable[[], None]:
        """Call `work` after `seconds`; the function that is returned cancels that."""
        scope = trio.CancelScope()
        if self._nursery is not None:
            self._nursery.start_soon(self._later, scope, seconds, work)
        return scope.cancel

    async def _draw(self, ask: DrawRequest, done: DrawCallback) -> None:
        drawn = None
        try:
            with trio.move_on_after(self._wait_seconds):
                drawn = await ask()
        except Exception as error:  # noqa: BLE001 - a barrier: ends this stream only
            _log.warning("drawing credit for a stream failed, so the stream ends: %r", error)
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
            _log.warning("a callback of a call failed: %r", error)
