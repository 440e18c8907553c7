"""Loops of one process wake it at the same times."""

import trio
from trio.testing import MockClock

from crewgate.runtime.ticks import next_tick, sleep_until_tick


async def test_loops_wake_at_multiples_of_their_pause(autojump_clock: MockClock) -> None:
    """Whenever they began; a phase moves all wakes of a loop."""
    await trio.sleep(0.6)
    assert [next_tick(0.25), next_tick(1.0), next_tick(1.0, 0.25), next_tick(1.0, 0.75)] == [
        0.75, 1.0, 1.25, 0.75,
    ]  # fmt: skip
    for expected in (1.25, 2.25):
        await sleep_until_tick(1.0, 0.25)
        assert trio.current_time() == expected
