"""Lets a call wait for a draw that another thread completes: in a thread, under asyncio or Trio.

Neither event loop is imported: a caller that runs in one has imported it already. A wait may end
early or late, so the caller must decide again after it. A late notification has no effect.
"""

import sys
import threading
from contextlib import suppress
from typing import Any, Protocol

from crewgate.leases.branch_opening import DrawResult


class DrawWaiter(Protocol):
    """Waits for one notification, from any thread.

    `status` says how the draw ended; None if it has not.
    """

    status: DrawResult | None

    def notify(self, status: DrawResult | None) -> None:
        """Set `status` and wake the call that waits."""


class AttachmentWaiters:
    """The calls that wait for the first attachment of a process. It ends once; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiters: list[DrawWaiter] = []
        self._is_over = False

    def await_with(self, waiter: DrawWaiter) -> bool:
        """Have `end` notify `waiter`; return False if it is over already."""
        with self._lock:
            if not self._is_over:
                self._waiters.append(waiter)
            return not self._is_over

    def end(self, status: DrawResult | None) -> None:
        """Notify all waiters: GRANTED if the process has attached, None if it could not."""
        with self._lock:
            self._is_over = True
            waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.notify(status)


class ThreadWaiter:
    """Blocks the calling thread."""

    def __init__(self) -> None:
        self.status: DrawResult | None = None
        self._notified = threading.Event()

    def notify(self, status: DrawResult | None) -> None:
        """Set `status` and wake the thread."""
        self.status = status
        self._notified.set()

    def wait(self, seconds: float) -> None:
        """Wait until notified, for at most `seconds`."""
        self._notified.wait(seconds)


class TrioWaiter:
    """Blocks the calling Trio task."""

    def __init__(self, trio: Any) -> None:  # noqa: ANN401 - the module, not imported here
        self.status: DrawResult | None = None
        self._trio = trio
        self._notified = trio.Event()
        self._token = trio.lowlevel.current_trio_token()

    def notify(self, status: DrawResult | None) -> None:
        """Set `status` and wake the task, from any thread."""
        self.status = status
        with suppress(self._trio.RunFinishedError):
            self._token.run_sync_soon(self._notified.set)

    async def wait(self, seconds: float) -> None:
        """Wait until notified, for at most `seconds`."""
        with self._trio.move_on_after(seconds):
            await self._notified.wait()


class AsyncioWaiter:
    """Blocks the calling asyncio task."""

    def __init__(self, asyncio: Any) -> None:  # noqa: ANN401 - the module, not imported here
        self.status: DrawResult | None = None
        self._asyncio = asyncio
        self._loop = asyncio.get_running_loop()
        self._notified = self._loop.create_future()

    def notify(self, status: DrawResult | None) -> None:
        """Set `status` and wake the task, from any thread."""
        self.status = status
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._set)

    async def wait(self, seconds: float) -> None:
        """Wait until notified, for at most `seconds`."""
        await self._asyncio.wait((self._notified,), timeout=seconds)

    def _set(self) -> None:
        if not self._notified.done():
            self._notified.set_result(None)


def running_trio() -> Any:  # noqa: ANN401 - the module, not imported here
    """Return the module `trio` if the caller runs in a Trio task, else None."""
    trio = sys.modules.get("trio")
    # `in_trio_run` would also be true for asyncio code that hosts Trio in guest mode.
    is_task = getattr(getattr(trio, "lowlevel", None), "in_trio_task", None)
    return trio if is_task is not None and is_task() else None


def task_waiter() -> TrioWaiter | AsyncioWaiter:
    """Return a waiter for the running task.

    Raises:
        RuntimeError: Neither an asyncio task nor a Trio task is running.
    """
    trio = running_trio()
    if trio is not None:
        return TrioWaiter(trio)
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        raise RuntimeError("await admit() from a task of asyncio or Trio")
    return AsyncioWaiter(asyncio)
