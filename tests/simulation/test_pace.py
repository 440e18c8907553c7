"""How often members are asked what they know follows from how stale this machine may be."""

import pytest
from gossip_world import Network, World

from crewgate import limits

BUSY = 0.1  # seconds that an agent may be late by, beside its pause between two looks


@pytest.mark.parametrize("staleness", [1.0, 2.0, 5.0, 60.0])
@pytest.mark.parametrize("loss", [0.0, 0.1], ids=["no loss", "a tenth lost"])
def test_whoever_is_in_touch_is_fresh_all_the_time(staleness: float, loss: float) -> None:
    """What the table says is as old as the last look of the agent; it has not run out by then."""
    world = World(3, 7, Network(loss=loss))
    for machine in world.machines:
        often = min(limits.compare_seconds, staleness / limits.compare_times)
        machine.node.anti_entropy.seconds = often
    world.run(2)
    for _ in range(3000):
        world.run(0.01)
        for machine in world.machines:
            left = machine.node.freshness.until(staleness) - world.now
            assert left > limits.fresh_interval_seconds + BUSY
