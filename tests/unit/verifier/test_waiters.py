"""A call waits for another thread's word under whichever loop it runs, and imports none."""

import asyncio
import subprocess
import sys
import threading

import pytest
import trio

from crewgate.leases.branch_opening import DrawResult
from crewgate.verifier.waiters import AsyncioWaiter, ThreadWaiter, TrioWaiter, task_waiter

LONG = 60.0


def ring_from_a_thread(waiter: ThreadWaiter | TrioWaiter | AsyncioWaiter) -> None:
    thread = threading.Thread(target=waiter.notify, args=(DrawResult.GRANTED,))
    thread.start()
    thread.join()


async def test_a_trio_task_is_woken() -> None:
    """From another thread, before or after it began to wait."""
    waiter = task_waiter()
    assert isinstance(waiter, TrioWaiter)
    ring_from_a_thread(waiter)
    await waiter.wait(LONG)
    assert waiter.status is DrawResult.GRANTED


async def test_a_trio_task_does_not_wait_for_ever(autojump_clock: trio.testing.MockClock) -> None:
    """Unrung it returns after its time, without a status."""
    waiter = task_waiter()
    await waiter.wait(0.25)
    assert waiter.status is None
    assert trio.current_time() == pytest.approx(0.25)


def test_an_asyncio_task_is_woken() -> None:
    """The same; ringing twice is ringing once."""

    async def wait() -> DrawResult | None:
        waiter = task_waiter()
        assert isinstance(waiter, AsyncioWaiter)
        ring_from_a_thread(waiter)
        waiter.notify(DrawResult.GRANTED)
        await waiter.wait(LONG)
        await asyncio.sleep(0)
        return waiter.status

    assert asyncio.run(wait()) is DrawResult.GRANTED


def test_an_asyncio_task_does_not_wait_for_ever() -> None:
    """Unrung it returns after its time, without a status."""

    async def wait() -> DrawResult | None:
        waiter = task_waiter()
        await waiter.wait(0)
        return waiter.status

    assert asyncio.run(wait()) is None


def test_a_word_for_a_loop_that_has_ended_is_lost() -> None:
    """Whoever rings is not made to suffer for it."""

    async def make() -> TrioWaiter | AsyncioWaiter:
        return task_waiter()

    for waiter in (asyncio.run(make()), trio.run(make)):
        waiter.notify(DrawResult.GRANTED)


def test_a_thread_is_woken() -> None:
    """Without any loop."""
    waiter = ThreadWaiter()
    waiter.wait(0)
    assert waiter.status is None
    ring_from_a_thread(waiter)
    waiter.wait(LONG)
    assert waiter.status is DrawResult.GRANTED


@pytest.mark.parametrize("imported", ["", "import asyncio"])
def test_outside_of_any_loop_it_says_so(imported: str) -> None:
    """A mistake is told, whether or not a loop was imported; none is imported to find out."""
    program = f"""
{imported}
import sys
from crewgate.verifier.waiters import task_waiter
try:
    task_waiter()
except RuntimeError:
    print("trio" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == b"False\n"
