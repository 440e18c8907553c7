"""Gates with limits on calls, and what a limit allows, said slowly."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from crew_world import World
from gate_world import NS, Gatehouse

from crewgate.core.policy.call_limits import CallLimit
from crewgate.core.reasons import Reason

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


class SlowLimits:
    """All limits of a policy, said slowly: a debt, or the calls under way, for each scope.

    `scope` says which scope of a limit a call has; None if the limit is not about it.
    """

    def __init__(self, limits: Sequence[CallLimit], scope: Callable[..., str | None]) -> None:
        self.limits = limits
        self.scope = scope
        self.debts: dict[tuple[str, str], DrainingDebt] = {}
        self.under_way: dict[tuple[str, str], list[object]] = {}

    def decide(self, call: object, now_ns: int) -> tuple[Reason | None, str, Reason | None]:
        """Count a call in all limits about it, or in none.

        Return why it is refused, by which limit, and what a limit that observes says.
        """
        found = [(each, self.scope(each, call)) for each in self.limits]
        about = [(each, (each.name, scope)) for each, scope in found if scope is not None]
        waits = {
            each.name: self._debt(each, key).wait_ns(now_ns) for each, key in about if each.calls
        }
        full = {
            each.name: len(self.under_way.setdefault(key, [])) >= each.concurrent
            for each, key in about
            if each.concurrent
        }
        enforced = [each.name for each, _ in about if not each.observe]
        longest = max((waits.get(name, 0), -at, name) for at, name in enumerate([*enforced, ""]))
        if longest[0]:
            return Reason.RATE_LIMITED, longest[2], None
        for name in enforced:
            if full.get(name):
                return Reason.TOO_MANY_CALLS, name, None
        seen = [Reason.TOO_MANY_CALLS] * any(full.values())
        seen += [Reason.RATE_LIMITED] * any(waits.values())
        for each, key in about:
            if each.calls and not waits[each.name]:
                assert self._debt(each, key).take(now_ns)
            elif each.concurrent and not full[each.name]:
                self.under_way[key].append(call)
        return None, "", seen[0] if seen else None

    def end(self, call: object) -> None:
        """A call is not under way any more."""
        for calls in self.under_way.values():
            if call in calls:
                calls.remove(call)

    def _debt(self, limit: CallLimit, key: tuple[str, str]) -> DrainingDebt:
        return self.debts.setdefault(key, DrainingDebt(limit))
