"""Health: the fold into one answer, the history of each component, and what the log says of it."""

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewgate import limits
from crewgate.core.health import (
    ComponentHealth,
    HealthChange,
    HealthState,
    HealthTracker,
    degraded,
    failed,
    ok,
)

HOUR = 3600


def _states(health: HealthTracker) -> dict[str, str]:
    return {each.component: each.state.value for each in health.summary.conditions}


def _looks(
    health: HealthTracker, facts: list[ComponentHealth], begin: int, end: int
) -> list[HealthChange]:
    return [change for at in range(begin, end) for change in health.update(facts, at)]


@pytest.mark.parametrize(
    ("facts", "ready", "state"),
    [
        ([], True, "ok"),
        ([ok("a")], True, "ok"),
        ([ok("a"), degraded("b", "why")], True, "degraded"),
        ([failed("a", "why", refuses=False)], True, "degraded"),
        ([failed("a", "why"), degraded("b", "why")], False, "failed"),
    ],
)
def test_the_machine_is_ready_while_no_component_has_calls_refused(
    facts: list[ComponentHealth], ready: bool, state: str
) -> None:
    """A failure beside the calls degrades the machine, and stops no calls."""
    health = HealthTracker()
    health.update(facts, 0.0)
    found = health.summary
    assert (found.ready, found.state.value) == (ready, state)


def test_the_worst_comes_first_and_says_since_when() -> None:
    """What has calls refused, then what failed, then what is degraded; the oldest before others."""
    health = HealthTracker()
    health.update([ok("a"), degraded("b", "x"), failed("c", "x", refuses=False), ok("d")], 1.0)
    facts = [degraded("a", "x"), degraded("b", "y"), failed("c", "x", refuses=False)]
    health.update([*facts, failed("d", "x")], 2.0)
    found = [(each.component, each.since) for each in health.summary.conditions]
    assert found == [("d", 2.0), ("c", 1.0), ("b", 1.0), ("a", 2.0)]
    assert health.summary.refusals == ["d: x"]


def test_of_several_facts_about_one_component_the_worst_counts() -> None:
    """A listener with an expired certificate and a list that ends soon."""
    health = HealthTracker()
    health.update(
        [degraded("listener a", "soon"), failed("listener a", "over"), ok("listener a")], 0
    )
    assert [each.why for each in health.summary.conditions] == ["over"]


def test_a_change_is_logged_once_with_what_to_do() -> None:
    """The failure at once, the recovery once it has lasted; other words are no change."""
    health = HealthTracker()
    assert _looks(health, [ok("audit")], 0, 3) == []
    (first,) = _looks(health, [failed("audit", "the disk is full", "make room")], 3, 40)
    assert str(first) == "audit: failed: the disk is full; to mend it: make room"
    assert _looks(health, [failed("audit", "1 record is lost", "make room")], 40, 43) == []
    settle = int(limits.health_settle_seconds)
    (last,) = _looks(health, [ok("audit")], 43, 60)
    assert str(last) == f"audit: ok again after {40 + settle} s"
    assert _looks(health, [ok("audit")], 60, 60 + 2 * HOUR) == []


def test_worse_is_logged_although_it_was_bad_before() -> None:
    """A warning that was not heeded becomes a failure."""
    health = HealthTracker()
    _looks(health, [degraded("certificate", "ends in 3 days")], 0, 9)
    (change,) = _looks(health, [failed("certificate", "has ended")], 9, 20)
    assert (change.before, change.now.state) == (HealthState.DEGRADED, HealthState.FAILED)


def test_what_passes_by_itself_is_not_logged() -> None:
    """A start counts at once, and is logged only if it lasts longer than its grace."""
    health = HealthTracker()
    starting = failed("worker 0", "has not attached", grace=10.0)
    assert _looks(health, [starting], 0, 10) == []
    assert not health.summary.ready
    assert health.summary.troubles[0].passing
    assert len(_looks(health, [starting], 10, 30)) == 1
    assert not health.summary.troubles[0].passing
    other = HealthTracker()
    assert _looks(other, [starting], 0, 5) + _looks(other, [ok("worker 0")], 5, 99) == []


def test_what_logs_itself_is_not_logged_twice() -> None:
    """The ledger says itself that it is away."""
    health = HealthTracker()
    assert _looks(health, [failed("ledger", "away", logged=True)], 0, 9) == []
    assert not health.summary.ready


def test_what_is_not_reported_any_more_is_forgotten() -> None:
    """A crew, listener or worker was taken out of the configuration."""
    health = HealthTracker()
    _looks(health, [failed("worker 3", "gone")], 0, 5)
    (change,) = _looks(health, [], 5, 60)
    assert change.now.state is HealthState.OK
    assert health.summary.conditions == ()


def test_the_number_of_components_is_bounded() -> None:
    """Those beyond the bound are counted in one that says so."""
    health = HealthTracker()
    many = limits.health_components_max + 7
    changes = health.update([degraded(f"{number}", "x") for number in range(many)], 0)
    found = {each.component: each.why for each in health.summary.conditions}
    assert len(found) == limits.health_components_max + 1
    assert found["health"] == "7 more components are not ok"
    assert len(changes) == len(found)


def test_logs_of_names_that_change_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ever new names cannot fill the memory or the log."""
    monkeypatch.setattr(limits, "health_logs_max", 20)
    health = HealthTracker()
    lines = [
        health.update([degraded(f"{at}", "x")], at) for at in range(limits.health_logs_max + 99)
    ]
    said = [
        change for changes in lines for change in changes if change.now.state is not HealthState.OK
    ]
    assert len(said) == limits.health_logs_max


def test_texts_are_cut_to_what_the_link_carries() -> None:
    """A long error of a library is no reason for a message that the agent refuses."""
    fact = failed("a", "x" * 10_000, "y" * 10_000)
    assert len(fact.why) == len(fact.mend) == limits.health_text_chars_max
    assert msgspec.convert(msgspec.to_builtins(fact), ComponentHealth) == fact


_STATES = st.sampled_from(HealthState)


@given(st.lists(st.tuples(_STATES, st.booleans()), max_size=60))
def test_the_fold_is_the_worst_of_all(parts: list[tuple[HealthState, bool]]) -> None:
    """Against the rule as one would say it."""
    facts = [
        ComponentHealth(f"{at}", state, refuses=flag) for at, (state, flag) in enumerate(parts)
    ]
    health = HealthTracker()
    health.update(facts, 0.0)
    ready = not any(state is HealthState.FAILED and flag for state, flag in parts)
    well = all(state is HealthState.OK for state, _ in parts)
    expected = HealthState.OK if well else HealthState.DEGRADED if ready else HealthState.FAILED
    assert (health.summary.ready, health.summary.state) == (ready, expected)
    assert _states(health) == {fact.component: fact.state.value for fact in facts}


@given(st.lists(st.tuples(_STATES, st.integers(1, 20)), max_size=30))
def test_the_log_is_bounded_and_ends_with_the_truth(spells: list[tuple[HealthState, int]]) -> None:
    """However a component flaps: few lines, none that repeats, and the last one is true."""
    health, at, lines = HealthTracker(), 0, []
    for state, seconds in [*spells, (HealthState.DEGRADED, 100)]:
        for _ in range(seconds):
            lines += health.update([ComponentHealth("a", state, "why")], at)
            (condition,) = health.summary.conditions
            assert condition.state is state  # an answer is never held back
            at += 7  # seconds
    states = [HealthState.OK, *(change.now.state for change in lines)]
    assert all(one is not two for one, two in itertools.pairwise(states))
    assert [change.before for change in lines] == states[:-1]
    assert states[-1] is HealthState.DEGRADED
    better = sum(two.rank < one.rank for one, two in itertools.pairwise(states))
    assert better <= 1 + at / limits.health_settle_seconds_max + 7  # doublings from 5 s to 600 s
    assert len(lines) <= 2 + 3 * better


def test_an_hour_of_flapping_is_few_lines() -> None:
    """Down and up again each second, and each minute."""
    for period in (10, 60):
        health = HealthTracker()
        lines: list[HealthChange] = []
        for at in range(0, HOUR, 5):
            is_down = at % period < period // 2
            lines += health.update([failed("a", "x") if is_down else ok("a")], at)
        assert len(lines) < 20, period
