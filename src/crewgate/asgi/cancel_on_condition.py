"""Runs an application until it ends or must be cancelled, under asyncio or Trio.

It checks at intervals whether the call must end. It imports no event loop: the server has imported
its own. The application runs in the task in which the server called it, so that context variables
and cancellation work as without the middleware.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from crewgate import limits
from crewgate.verifier.waiters import running_trio

CancellableWork = Callable[[], Awaitable[None]]


async def run_until(work: CancellableWork, is_over: Callable[[], bool]) -> None:
    """Run `work` to its end, or cancel it soon after `is_over` becomes true.

    An exception of `work` is raised, even if it was cancelled and raised that instead.
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
        except Exception as error:  # noqa: BLE001 - raised below, outside the nursery
            failed.append(error)
        nursery.cancel_scope.cancel()
    if failed:
        # Inside the nursery it would be wrapped in an exception group.
        raise failed[0]


async def _under_asyncio(work: CancellableWork, is_over: Callable[[], bool]) -> None:
    import asyncio  # noqa: PLC0415 - under Trio it may not be imported

    loop = asyncio.get_running_loop()
    # A timeout without a deadline: only this can cancel the running task and tell its own
    # cancellation from any other.
    scope = asyncio.timeout(None)
    timer: asyncio.TimerHandle | None = None

    def check() -> None:
        nonlocal timer
        if is_over():
            scope.reschedule(loop.time())
        else:
            timer = loop.call_later(limits.revocation_look_seconds, check)

    try:
        async with scope:
            check()
            await work()
    except TimeoutError:
        if not scope.expired():
            raise
    finally:
        if timer is not None:
            timer.cancel()
