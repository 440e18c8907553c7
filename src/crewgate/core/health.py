"""Keeps the health of one machine: each component's state, since when, why, and how to mend it.

It combines the facts that components report into one summary, and decides which changes to log. It
does not decide about calls. Times are seconds of a monotonic clock, which callers pass in.

To add a component, yield one `ComponentHealth` at each check from the process that knows it, also
while the component is ok. The places are `agent.health.facts` for the agent, `gateway.health.facts`
for a worker and `control.health.facts` for the control process. One line is enough:

    yield failed("ledger", why, "make room on its disk") if why else ok("ledger")

Use the same name for a component every time, and put numbers that change into `why`: only a change
of `state` counts as a change. A state that should end by itself within seconds (a start, a reload)
gets a `grace`: it counts at once, but is logged only if it lasts longer.
"""

import enum
import math
from collections.abc import Iterable
from typing import Annotated

import msgspec

from crewgate import limits


class HealthState(enum.Enum):
    """The state of a component.

    `OK`: it works. `DEGRADED`: it works, but a person must act. `FAILED`: it does not work.
    """

    OK = "ok"
    DEGRADED = "degraded"
    FAILED = "failed"

    @property
    def rank(self) -> int:
        """The severity: 0 for ok; a higher rank is worse."""
        return _RANKS[self]


_RANKS = {HealthState.OK: 0, HealthState.DEGRADED: 1, HealthState.FAILED: 2}


ComponentName = Annotated[str, msgspec.Meta(min_length=1, max_length=limits.health_name_chars_max)]
HealthText = Annotated[str, msgspec.Meta(max_length=limits.health_text_chars_max)]


class ComponentHealth(msgspec.Struct, frozen=True):
    """The state of one component at one check.

    `why` and `mend` are sentences without a full stop. `refuses`: the gateway refuses calls in this
    state, so the machine is not ready. `grace`: seconds within which the state should end by
    itself. `logged`: the component writes its own log line about it.
    """

    component: ComponentName
    state: HealthState = HealthState.OK
    why: HealthText = ""
    mend: HealthText = ""
    refuses: bool = False
    grace: float = 0.0
    logged: bool = False


class HealthCondition(ComponentHealth, frozen=True):
    """A fact with its history.

    `since` is when the component entered this state, on the clock of `HealthTracker.update`.
    `passing`: the component is not ok, but still within its grace.
    """

    since: float = 0.0
    passing: bool = False


class HealthChange(msgspec.Struct, frozen=True):
    """A change to log: the last logged state, how many seconds it lasted, and the state now."""

    before: HealthState
    now: HealthCondition
    seconds: float

    def __str__(self) -> str:
        name, state = self.now.component, self.now.state
        if state is HealthState.OK:
            return f"{name}: ok again after {self.seconds:.0f} s"
        mend = f"; to mend it: {self.now.mend}" if self.now.mend else ""
        return f"{name}: {state.value}: {self.now.why}{mend}"


def ok(component: str) -> ComponentHealth:
    """Return the fact that a component works."""
    return ComponentHealth(component)


def degraded(component: str, why: str, mend: str = "", *, logged: bool = False) -> ComponentHealth:
    """Return the fact that a person must act, though calls continue. Long texts are cut."""
    return ComponentHealth(component, HealthState.DEGRADED, _cut(why), _cut(mend), logged=logged)


def failed(
    component: str,
    why: str,
    mend: str = "",
    *,
    refuses: bool = True,
    grace: float = 0.0,
    logged: bool = False,
) -> ComponentHealth:
    """Return the fact that a component does not work; by default the gateway refuses calls."""
    state = HealthState.FAILED
    return ComponentHealth(component, state, _cut(why), _cut(mend), refuses, grace, logged)


def first_of(reasons: str) -> str:
    """Return the first of several reasons, which are one on a line, and how many more there are."""
    first, *more = reasons.splitlines()
    return f"{first} (and {len(more)} more)" if more else first


def _cut(text: str) -> str:
    chars_max = limits.health_text_chars_max
    return text if len(text) <= chars_max else f"{text[: chars_max - 1]}…"


class HealthSummary(msgspec.Struct, frozen=True):
    """The health of the whole machine, as probes and `crewgate status` show it.

    `ready`: the gateway admits calls. `state` is failed if it does not, and degraded if a component
    is not ok. `conditions` are sorted, worst first.
    """

    ready: bool
    state: HealthState
    conditions: tuple[HealthCondition, ...]

    @property
    def troubles(self) -> tuple[HealthCondition, ...]:
        """The conditions that are not ok."""
        return tuple(each for each in self.conditions if each.state is not HealthState.OK)

    @property
    def refusals(self) -> list[str]:
        """Why the machine is not ready: a text for each component that refuses calls."""
        return [f"{each.component}: {each.why}" for each in self.conditions if refuses(each)]


def refuses(fact: ComponentHealth) -> bool:
    """Return whether the gateway refuses calls because of a fact."""
    return fact.refuses and fact.state is HealthState.FAILED


def summary(conditions: Iterable[HealthCondition]) -> HealthSummary:
    """Return the summary of the conditions of all components."""
    ordered = tuple(sorted(conditions, key=_worst_first))
    is_ready = not any(map(refuses, ordered))
    is_well = all(each.state is HealthState.OK for each in ordered)
    state = HealthState.OK if is_well else HealthState.DEGRADED if is_ready else HealthState.FAILED
    return HealthSummary(is_ready, state, ordered)


def _worst_first(each: HealthCondition) -> tuple[int, int, float, str]:
    return (-int(refuses(each)), -each.state.rank, each.since, each.component)


class _Log:
    """The last logged state of one component.

    A worse state is logged at once, and a better one after it has lasted `_pause` seconds. Each
    relapse doubles the pause, so a flapping component costs at most three lines for each pause.
    `_better_since` is since when the state is better than the logged one; `_recovered_at` is when a
    better state was last logged.
    """

    __slots__ = ("_better_since", "_logged_at", "_pause", "_recovered_at", "logged")

    def __init__(self, at: float) -> None:
        self.logged = HealthState.OK
        self._logged_at = at
        self._better_since: float | None = None
        self._recovered_at = -math.inf
        self._pause = limits.health_settle_seconds

    def change(self, now: HealthCondition, at: float) -> HealthChange | None:
        """Return the change to log, if there is one."""
        rank, logged = now.state.rank, self.logged.rank
        if now.passing or rank >= logged:
            self._better_since = None
        elif self._better_since is None:
            self._better_since = at
        if now.passing or rank == logged:
            return None
        if self._better_since is not None and at - self._better_since < self._pause:
            return None
        if rank < logged:
            self._recovered_at = at
        else:
            is_relapse = at - self._recovered_at < limits.health_calm_seconds
            longer = min(2 * self._pause, limits.health_settle_seconds_max)
            self._pause = longer if is_relapse else limits.health_settle_seconds
        change = HealthChange(self.logged, now, at - self._logged_at)
        self.logged, self._logged_at, self._better_since = now.state, at, None
        return change

    def is_over(self, at: float) -> bool:
        """Return whether it can be forgotten: the component has been ok for long enough."""
        return self.logged is HealthState.OK and at - self._logged_at >= limits.health_calm_seconds


class HealthTracker:
    """The components of one machine at the last check; at most `limits.health_components_max`."""

    def __init__(self) -> None:
        self._conditions: dict[str, HealthCondition] = {}
        self._logs: dict[str, _Log] = {}

    @property
    def summary(self) -> HealthSummary:
        """The summary of the last check."""
        return summary(self._conditions.values())

    def update(self, facts: Iterable[ComponentHealth], now: float) -> list[HealthChange]:
        """Store the facts of all components at `now` (seconds); return the changes to log.

        If there are several facts about one component, the worst counts. A component without a fact
        counts as ok, and is forgotten.
        """
        found = _worst(facts)
        self._conditions = {name: self._condition(fact, now) for name, fact in found.items()}
        gone = [HealthCondition(name, since=now) for name in self._logs if name not in found]
        changes = []
        for condition in (*self._conditions.values(), *gone):
            change = self._log(condition, now)
            if change is not None and not change.now.logged:
                changes.append(change)
        return changes

    def _condition(self, fact: ComponentHealth, now: float) -> HealthCondition:
        before = self._conditions.get(fact.component)
        since = before.since if before is not None and before.state is fact.state else now
        is_passing = fact.state is not HealthState.OK and now - since < fact.grace
        return HealthCondition(**msgspec.structs.asdict(fact), since=since, passing=is_passing)

    def _log(self, condition: HealthCondition, now: float) -> HealthChange | None:
        name = condition.component
        log = self._logs.get(name)
        if log is None:
            if condition.state is HealthState.OK or len(self._logs) >= limits.health_logs_max:
                return None
            log = self._logs[name] = _Log(now)
        change = log.change(condition, now)
        if change is None and condition.state is HealthState.OK and log.is_over(now):
            del self._logs[name]
        return change


def _worst(facts: Iterable[ComponentHealth]) -> dict[str, ComponentHealth]:
    """Return one fact for each component, and a fact that counts those over the limit."""
    found: dict[str, ComponentHealth] = {}
    more = 0
    for fact in facts:
        before = found.get(fact.component)
        if before is None and len(found) >= limits.health_components_max:
            more += fact.state is not HealthState.OK
        elif before is None or fact.state.rank > before.state.rank:
            found[fact.component] = fact
    if more:
        found["health"] = degraded("health", f"{more} more components are not ok")
    return found
