"""A flag that one task sleeps on: the cheapest way for plain code to wake a Trio task.

Knows nothing of what it stands for. `trio.Event` is made anew for every cycle and wakes any
number of tasks; a connection's writer needs neither.
"""

import trio


class WakeupEvent:
    """Set any number of times, seen once; at most one task waits."""

    __slots__ = ("_set", "_sleeper", "_waking")

    def __init__(self) -> None:
        self._set = False
        self._sleeper: trio.lowlevel.Task | None = None
        self._waking = False  # the waiter is scheduled and has not run: it will see all of this

    def set(self) -> None:
        """Wake the waiter, or let the next `wait` return at once."""
        if self._sleeper is not None:
            sleeper, self._sleeper = self._sleeper, None
            self._waking = True
            trio.lowlevel.reschedule(sleeper)
        elif not self._waking:
            self._set = True

    async def wait(self) -> None:
        """Sleep until the next `set`; one that came earlier counts."""
        if self._set:
            self._set = False
            return
        self._sleeper = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._abort)
        self._waking = False

    def _abort(self, _: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
        self._sleeper = None
        return trio.lowlevel.Abort.SUCCEEDED
