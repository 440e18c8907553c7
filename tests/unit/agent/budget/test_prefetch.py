"""The agent sleeps until it has to prefetch credit."""

from types import SimpleNamespace

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from crewgate.agent.budget.draws import Draws
from crewgate.agent.revocation.types import ClockReading


async def test_the_agent_waits_for_the_first_prefetch(autojump_clock: MockClock) -> None:
    """It does so also if a prefetch is planned while it waits for a later one."""
    start = trio.current_time()
    leases = SimpleNamespace(seconds_left={b"late": 0.2, b"early": 0.1}.__getitem__)

    def read() -> ClockReading:
        return ClockReading(wall=0, boot_ns=round((trio.current_time() - start) * 1e9))

    draws = Draws(None, leases, None, None, None, 0.25, read=read)
    with trio.fail_after(1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(draws.prefetch_due)
            for branch in (b"late", b"early"):
                await wait_all_tasks_blocked()
                draws._plan(branch, read())
    assert trio.current_time() - start == pytest.approx(0.1)
    assert draws._prefetches[0][1] == b"early"
