"""Gates with limits on calls, and what a limit allows, said slowly."""

from typing import Any

import msgspec
from crew_world import World
from gate_world import NS, Gatehouse

from crewgate.core.policy.call_limits import CallLimit

SEARCH, EMBED, PING, PUBLISH = range(4)


def with_limits(world: World, *found: CallLimit, generation: int = 1) -> World:
    """The world, with these limits in its policy."""
    world.policy = msgspec.structs.replace(world.policy, limits=found, generation=generation)
    return world


def limited(*found: CallLimit, **how: Any) -> Gatehouse:
    """A gate with these limits."""
    return Gatehouse(with_limits(World.make(), *found), **how)


def rate(name: str = "slow", per: Any = "crew", **how: Any) -> CallLimit:
    """One call a second after a burst of three, unless `how` says otherwise."""
    return CallLimit(**{"name": name, "per": per, "calls": 1, "seconds": 1, "burst": 3, **how})


def places(count: int, name: str = "few", per: Any = "crew", **how: Any) -> CallLimit:
    """So many calls under way at the same time."""
    return CallLimit(name=name, per=per, concurrent=count, **how)


def after(house: Gatehouse, seconds: float) -> None:
    """Let CLOCK_BOOTTIME go on; the wall clock stands still."""
    house.boot_ns += round(seconds * NS)
    house.at(0)


class DrainingDebt:
    """A token bucket as a debt that drains: each call owes its interval, and time pays it back."""

    def __init__(self, limit: CallLimit) -> None:
        self.limit = limit
        self.owed_ns = 0
        self.at_ns = 0

    def wait_ns(self, now_ns: int) -> int:
        """How long a call must wait."""
        self.owed_ns = max(0, self.owed_ns - (now_ns - self.at_ns))
        self.at_ns = now_ns
        most = (self.limit.burst - 1) * self.limit.interval_ns
        return max(0, self.owed_ns - most)

    def take(self, now_ns: int) -> bool:
        """Count a call unless it must wait."""
        if self.wait_ns(now_ns):
            return False
        self.owed_ns += self.limit.interval_ns
        return True
