"""Provides an event that one Trio task waits for and synchronous code sets, again and again.

A `trio.Event` costs more: it must be made anew for each use, and wakes any number of tasks.
"""

import trio


class AutoResetEvent:
    """An event that wakes at most one waiting task; several `set` before a `wait` count once."""

    __slots__ = ("_set", "_sleeper", "_waking")

    def __init__(self) -> None:
        self._set = False
        self._sleeper: trio.lowlevel.Task | None = None
        # The waiter is scheduled and has not run yet: a `set` meanwhile needs no second wake-up.
        self._waking = False

    def set(self) -> None:
        """Wake the waiter, or let the next `wait` return at once."""
        if self._sleeper is not None:
            sleeper, self._sleeper = self._sleeper, None
            self._waking = True
            trio.lowlevel.reschedule(sleeper)
        elif not self._waking:
            self._set = True

    async def wait(self) -> None:
        """Sleep until the next `set`; return at once if there was one since the last `wait`."""
        if self._set:
            self._set = False
            return
        self._sleeper = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._abort)
        self._waking = False

    def _abort(self, _: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
        self._sleeper = None
        return trio.lowlevel.Abort.SUCCEEDED
