"""Runs an application so that it can be cut, under asyncio or Trio, whichever is running.

Decides when to look whether the call must end; how that is told to the client is decided
elsewhere. Imports no event loop: the server has imported its own. The application runs in the
task of the server's call, so whatever it expects of that task holds.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from crewgate import limits
from crewgate.verifier.waiters import running_trio

CancellableWork = Callable[[], Awaitable[None]]


async def run_until(work: CancellableWork, is_over: Callable[[], bool]) -> None:
    """Run `work` to its end, or cancel it soon after `is_over` became true.

    What it raises is raised, also if it was cancelled and raised something else instead.
    """
    trio = running_trio()
    if trio is not None:
        await _under_trio(trio, work, is_over)
    else:
        await _under_asyncio(work, is_over)


async def _under_trio(trio: Any, work: CancellableWork, is_over: Callable[[], bool]) -> None:  # noqa: ANN401
    failed: list[Exception] = []

    async def watch() -> None:
        while not is_over():
            await trio.sleep(limits.revocation_look_seconds)
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - raised below, outside of the nursery
            failed.append(error)
        nursery.cancel_scope.cancel()
    if failed:
        # Carried out by hand, so that it arrives as itself and not in a group.
        raise failed[0]


async def _under_asyncio(work: CancellableWork, is_over: Callable[[], bool]) -> None:
    import asyncio  # noqa: PLC0415 - the server has imported it, a Trio server has not

    loop = asyncio.get_running_loop()
    # A timeout without a time: the one thing of asyncio that can cancel the running task and
    # tell its own cancellation from everybody else's.
    scope = asyncio.timeout(None)
    timer: asyncio.TimerHandle | None = None

    def look() -> None:
        nonlocal timer
        if is_over():
            scope.reschedule(loop.time())
        else:
            timer = loop.call_later(limits.revocation_look_seconds, look)

    try:
        async with scope:
            look()
            await work()
    except TimeoutError:
        if not scope.expired():
            raise
    finally:
        if timer is not None:
            timer.cancel()
