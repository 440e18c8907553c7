"""How one call waits for another thread's word: in a thread, under asyncio, or under Trio.

Imports neither event loop: whoever runs in one has imported it. A wait may end early or late, so
whoever waited looks again; a word that comes when nobody waits any more is lost.
"""

import sys
import threading
from contextlib import suppress
from typing import Any, Protocol

from crewgate.leases.branch_opening import DrawResult


class DrawWaiter(Protocol):
    """Rung once, from any thread; `status` says how the draw ended, None for not at all."""

    status: DrawResult | None

    def notify(self, status: DrawResult | None) -> None:
        """Wake who waits."""


class AttachmentArrival:
    """Who waits for the first attachment of a process, from any thread; over once, for good."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiters: list[DrawWaiter] = []
        self._is_over = False

    def await_with(self, waiter: DrawWaiter) -> bool:
        """Have `waiter` rung when it is over; False if it is."""
        with self._lock:
            if not self._is_over:
                self._waiters.append(waiter)
            return not self._is_over

    def end(self, status: DrawResult | None) -> None:
        """Ring all of them. GRANTED: judge again, now there is whom to ask; None: in vain."""
        with self._lock:
            self._is_over = True
            waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.notify(status)


class ThreadWaiter:
    """Waits in a thread of its own."""

    def __init__(self) -> None:
        self.status: DrawResult | None = None
        self._rung = threading.Event()

    def notify(self, status: DrawResult | None) -> None:
        """Wake the thread."""
        self.status = status
        self._rung.set()

    def wait(self, seconds: float) -> None:
        """Until rung, at most `seconds`."""
        self._rung.wait(seconds)


class TrioWaiter:
    """Waits as a Trio task."""

    def __init__(self, trio: Any) -> None:  # noqa: ANN401 - the module, not imported here
        self.status: DrawResult | None = None
        self._trio = trio
        self._rung = trio.Event()
        self._token = trio.lowlevel.current_trio_token()

    def notify(self, status: DrawResult | None) -> None:
        """Wake the task, wherever its loop runs."""
        self.status = status
        with suppress(self._trio.RunFinishedError):
            self._token.run_sync_soon(self._rung.set)

    async def wait(self, seconds: float) -> None:
        """Until rung, at most `seconds`."""
        with self._trio.move_on_after(seconds):
            await self._rung.wait()


class AsyncioWaiter:
    """Waits as an asyncio task."""

    def __init__(self, asyncio: Any) -> None:  # noqa: ANN401 - the module, not imported here
        self.status: DrawResult | None = None
        self._asyncio = asyncio
        self._loop = asyncio.get_running_loop()
        self._rung = self._loop.create_future()

    def notify(self, status: DrawResult | None) -> None:
        """Wake the task, wherever its loop runs."""
        self.status = status
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._set)

    async def wait(self, seconds: float) -> None:
        """Until rung, at most `seconds`."""
        await self._asyncio.wait((self._rung,), timeout=seconds)

    def _set(self) -> None:
        if not self._rung.done():
            self._rung.set_result(None)


def running_trio() -> Any:  # noqa: ANN401 - the module, not imported here
    """The module `trio` if the caller is a task of it, else None."""
    trio = sys.modules.get("trio")
    # `in_trio_run` would also be true for asyncio code that hosts Trio as its guest.
    is_task = getattr(getattr(trio, "lowlevel", None), "in_trio_task", None)
    return trio if is_task is not None and is_task() else None


def task_waiter() -> TrioWaiter | AsyncioWaiter:
    """A waiter for the running task.

    Raises:
        RuntimeError: No task of asyncio or Trio is running.
    """
    trio = running_trio()
    if trio is not None:
        return TrioWaiter(trio)
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        raise RuntimeError("await admit() from a task of asyncio or Trio")
    return AsyncioWaiter(asyncio)
