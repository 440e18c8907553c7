"""The health of one machine: what state each component is in, since when, why, and how to mend it.

Decides nothing about calls: it folds the facts that components report into one answer, and tells
which changes belong in the log. Reads no clock; times are seconds of a clock that is never set.

To add a component, yield one `HealthFact` at each look from the process that knows it, also while
all is well. The places are `agent.health.facts` for the agent, `gateway.health.facts` for a worker
and `control.health.facts` for the control process. One line is enough:

    yield failed("ledger", why, "make room on its disk") if why else ok("ledger")

Give a component the same name every time, and put numbers that change into `why`: a change is a
change of `state`. CallFields should end by itself within seconds (a start, a reload) gets a
`grace`: it counts at once, but is logged only if it lasts longer.
"""

import enum
import math
from collections.abc import Iterable
from typing import Annotated

import msgspec

from crewgate import limits


class HealthState(enum.Enum):
    """ok: works. degraded: works, and somebody must act. failed: does not do its work."""

    OK = "ok"
    DEGRADED = "degraded"
    FAILED = "failed"

    @property
    def rank(self) -> int:
        """0 for ok; the higher, the worse."""
        return _RANKS[self]


_RANKS = {HealthState.OK: 0, HealthState.DEGRADED: 1, HealthState.FAILED: 2}


ComponentName = Annotated[str, msgspec.Meta(min_length=1, max_length=limits.health_name_chars_max)]
HealthText = Annotated[str, msgspec.Meta(max_length=limits.health_text_chars_max)]


class HealthFact(msgspec.Struct, frozen=True):
    """What one look found of one component.

    `why` and `mend` are sentences without their full stop. `refuses`: the gateway refuses calls
    while it is so, so the machine is not ready. `grace`: seconds within which it should end by
    itself. `logged`: the component writes its own log line about it.
    """

    component: ComponentName
    state: HealthState = HealthState.OK
    why: HealthText = ""
    mend: HealthText = ""
    refuses: bool = False
    grace: float = 0.0
    logged: bool = False


class HealthCondition(HealthFact, frozen=True):
    """A fact with its history.

    `since` is when the component came into this state, on the clock of `Health.look`. `passing`: it
    is not ok, and still within its grace.
    """

    since: float = 0.0
    passing: bool = False


class HealthChange(msgspec.Struct, frozen=True):
    """A component's state as the log had it, and as it is now. `seconds` is how long it was so."""

    before: HealthState
    now: HealthCondition
    seconds: float

    def __str__(self) -> str:
        name, state = self.now.component, self.now.state
        if state is HealthState.OK:
            return f"{name}: ok again after {self.seconds:.0f} s"
        mend = f"; to mend it: {self.now.mend}" if self.now.mend else ""
        return f"{name}: {state.value}: {self.now.why}{mend}"


def ok(component: str) -> HealthFact:
    """The component works."""
    return HealthFact(component)


def degraded(
    component: str, why: str, mend: str = "", *, grace: float = 0.0, logged: bool = False
) -> HealthFact:
    """Calls go on, or only some are refused, and somebody must act. Long texts are cut."""
    fact = HealthFact(component, HealthState.DEGRADED, _cut(why), _cut(mend))
    return msgspec.structs.replace(fact, grace=grace, logged=logged)


def failed(
    component: str,
    why: str,
    mend: str = "",
    *,
    refuses: bool = True,
    grace: float = 0.0,
    logged: bool = False,
) -> HealthFact:
    """The component does not do its work; while it does not, the gateway `refuses` calls."""
    fact = HealthFact(component, HealthState.FAILED, _cut(why), _cut(mend), refuses)
    return msgspec.structs.replace(fact, grace=grace, logged=logged)


def _cut(text: str) -> str:
    most = limits.health_text_chars_max
    return text if len(text) <= most else f"{text[: most - 1]}…"


class HealthSummary(msgspec.Struct, frozen=True):
    """The answer about the whole machine; what a probe and `crewgate status` say.

    ready: the gateway answers calls. `state`: failed if it does not, degraded if any component is
    not ok. `conditions` are the worst first.
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
        """Why the machine is not ready: a text for each component at fault."""
        return [f"{each.component}: {each.why}" for each in self.conditions if refuses(each)]


def refuses(fact: HealthFact) -> bool:
    """Whether calls are refused because of it."""
    return fact.refuses and fact.state is HealthState.FAILED


def summary(conditions: Iterable[HealthCondition]) -> HealthSummary:
    """Fold the conditions of all components into one answer."""
    ordered = tuple(sorted(conditions, key=_worst_first))
    is_ready = not any(map(refuses, ordered))
    is_well = all(each.state is HealthState.OK for each in ordered)
    state = HealthState.OK if is_well else HealthState.DEGRADED if is_ready else HealthState.FAILED
    return HealthSummary(is_ready, state, ordered)


def _worst_first(each: HealthCondition) -> tuple[int, int, float, str]:
    return (-int(refuses(each)), -each.state.rank, each.since, each.component)


class _Log:
    """What the log has said of one component.

    A worse state is logged at once, a better one once it has lasted `pause` seconds. Each relapse
    doubles the pause, so a component that flaps costs at most three lines for each pause.
    """

    __slots__ = ("_better", "_pause", "_recovered", "_said_at", "said")

    def __init__(self, at: float) -> None:
        self.said = HealthState.OK
        self._said_at = at
        self._better: float | None = None  # since when the state is better than what was said
        self._recovered = -math.inf  # when a better state was last logged
        self._pause = limits.health_settle_seconds

    def change(self, now: HealthCondition, at: float) -> HealthChange | None:
        """The change to log, if there is one."""
        rank, said = now.state.rank, self.said.rank
        if now.passing or rank >= said:
            self._better = None
        elif self._better is None:
            self._better = at
        if now.passing or rank == said:
            return None
        if self._better is not None and at - self._better < self._pause:
            return None
        if rank < said:
            self._recovered = at
        else:
            is_relapse = at - self._recovered < limits.health_calm_seconds
            longer = min(2 * self._pause, limits.health_settle_seconds_max)
            self._pause = longer if is_relapse else limits.health_settle_seconds
        change = HealthChange(self.said, now, at - self._said_at)
        self.said, self._said_at, self._better = now.state, at, None
        return change

    def is_over(self, at: float) -> bool:
        """Nothing of it needs to be remembered: it has been well for long."""
        return self.said is HealthState.OK and at - self._said_at >= limits.health_calm_seconds


class Health:
    """The components of one machine as of the last look; at most `limits.health_components_max`."""

    def __init__(self) -> None:
        self._conditions: dict[str, HealthCondition] = {}
        self._logs: dict[str, _Log] = {}

    def __repr__(self) -> str:
        found = self.summary
        return f"<Health {found.state.value} troubles={len(found.troubles)}>"

    @property
    def summary(self) -> HealthSummary:
        """What the last look found."""
        return summary(self._conditions.values())

    def update(self, facts: Iterable[HealthFact], now: float) -> list[HealthChange]:
        """Take up what all components report at `now` (seconds); the changes to log, in order.

        Of several facts about one component the worst counts. A component that is not reported any
        more counts as ok, and is forgotten.
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

    def _condition(self, fact: HealthFact, now: float) -> HealthCondition:
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


def _worst(facts: Iterable[HealthFact]) -> dict[str, HealthFact]:
    """One fact for each component; those beyond the bound are counted in one of their own."""
    found: dict[str, HealthFact] = {}
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
