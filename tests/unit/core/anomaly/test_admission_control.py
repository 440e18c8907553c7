"""The minting watch: seeded scenarios, the model, its bounds, strangers, and what survives."""

import random
import tracemalloc
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from minting_world import CREDIT, WALL, Model, key, seen
from search_depth import deep

from crewgate import limits
from crewgate.core.anomaly import baseline
from crewgate.core.anomaly.admission_control import AdmissionController
from crewgate.core.anomaly.baseline import MeasureScale, SensitivityLevel
from crewgate.core.anomaly.enforcement import (
    EnforcementLevel,
    EnforcementOrder,
    IllegalStepError,
    TransitionCause,
)
from crewgate.core.anomaly.results import GrantAdmission, ProfileSnapshot
from crewgate.core.anomaly.types import SCALES, AnomalyFinding, MintingMeasure, WatchRules

ENFORCED = WatchRules(mode=EnforcementLevel.QUARANTINE)
DAY = 86_400.0


def watch(rules: WatchRules = ENFORCED, **bounds: int) -> AdmissionController:
    """Over one crew."""
    made = AdmissionController(**bounds)
    made.load({"article": rules})
    return made


class Crew:
    """An orchestrator at work in a seeded world; the watch must see nothing in it."""

    def __init__(self, made: AdmissionController, name: str = "article/one", seed: int = 7) -> None:
        self.watch, self.name, self.random = made, name, random.Random(seed)
        self.number = self.random.getrandbits(60)
        self.live: list[tuple[float, int, int]] = []  # next refresh, branch, iat

    def mint(self, now: float, parent: int | None = None, **changes: object) -> bool:
        self.number += 1
        answer = self.watch.observe(
            seen(self.number, parent, orchestrator=self.name, **changes), now
        )
        assert not answer.steps, (now, answer)
        return answer.admitted

    def minute(self, now: float) -> None:
        """A few runs, each with some children; and every live branch refreshed when it is due."""
        for _ in range(self.random.choice([0, 0, 1, 1, 2])):
            at = now + self.random.random() * 20
            assert self.mint(at, credits=self.random.randint(5, 20) * CREDIT)
            root = self.number
            for _ in range(self.random.randint(0, 6)):
                assert self.mint(at + 1, root, tools=self.random.randint(1, 4))
                if self.random.random() < 0.3:
                    self.live.append((now + 720, self.number, 100))
        for due in [each for each in self.live if each[0] <= now]:
            self.live.remove(due)
            extension = seen(due[1], 0, iat=due[2] + 1, is_new=False, orchestrator=self.name)
            answer = self.watch.observe(extension, now + 30)
            assert answer.admitted
            assert not answer.steps, answer
            if self.random.random() < 0.8:
                self.live.append((now + 720, due[1], due[2] + 1))

    def work(self, begin: float, minutes: int) -> float:
        for number in range(minutes):
            self.minute(begin + 60 * number)
            self.watch.poll(begin + 60 * number + 59, WALL)
        return begin + 60 * minutes


@pytest.mark.parametrize("seed", range(5))
def test_a_steady_crew_never_trips(seed: int) -> None:
    """Three days with bursts of sub-agents, nights without any, refreshes as they fall due."""
    crew = Crew(watch(), seed=seed)
    now = 1000.0
    for _ in range(3):
        now = crew.work(now, 16 * 60) + 8 * 3600
        crew.live.clear()
    assert crew.watch.states() == []


@pytest.mark.parametrize("seed", range(5))
def test_a_runaway_minter_trips_within_eight_times_its_usual_minute(seed: int) -> None:
    """And is throttled to its usual rate at once, then quarantined when it goes on."""
    crew = Crew(watch(), seed=seed)
    now = crew.work(0.0, 300)
    used = []
    causes = []
    for number in range(2000):
        answer = crew.watch.observe(seen(number, 1), now + number * 0.1)
        used.append(answer.admitted)
        causes += [(number, step.cause) for step in answer.steps]
    (first, _), *_ = causes
    assert first <= 8 * 15
    assert [cause for _, cause in causes] == [
        TransitionCause.STRIKE,
        TransitionCause.STRIKE,
        TransitionCause.OUT,
        TransitionCause.OUT,
    ]
    assert not any(used[causes[2][0] :])
    assert sum(used) < first + 2 * 15
    assert crew.watch.states()[0].in_force is EnforcementLevel.QUARANTINE


def test_a_runaway_minter_of_a_cold_watch_meets_the_ceiling() -> None:
    """Before there is any baseline, a configured ceiling holds from the first minute."""
    made = watch(WatchRules(mode=EnforcementLevel.QUARANTINE, mints_per_minute=20))
    steps = [made.observe(seen(number, 1), number * 0.1).steps for number in range(60)]
    assert [len(each) for each in steps[:20]] == [0] * 20
    ((step,),) = [each for each in steps if each]
    assert steps[20] == (step,)
    assert step.finding == AnomalyFinding(MintingMeasure.MINTS, 21, 20)
    assert (step.was, step.level, step.cause) == (
        EnforcementLevel.OBSERVE,
        EnforcementLevel.THROTTLE,
        TransitionCause.STRIKE,
    )


@pytest.mark.parametrize("seed", range(5))
def test_a_patient_attacker_that_doubles_every_hour_trips_within_hours(seed: int) -> None:
    """The baseline follows by one doubling a day: it is left behind before the fifth one."""
    crew = Crew(watch(), seed=seed)
    now, number = crew.work(0.0, 300), 0
    for minute in range(10 * 60):
        for mint in range(round(4 * 2 ** (minute / 60))):
            number += 1
            at = now + minute * 60 + mint / 100
            answer = crew.watch.observe(seen(number, 1, branch=key(2**70 + number)), at)
            if answer.steps:
                assert minute <= 5 * 60
                return
    pytest.fail("it was never found")


def test_another_pace_is_found_in_each_measure() -> None:
    """Depth, scope, fan-out, credits and extensions each by itself, against what is usual."""
    for measure, odd in (
        (MintingMeasure.DEPTH, {"depth": 6}),
        (MintingMeasure.PATTERNS, {"patterns": 30}),
        (MintingMeasure.TOOLS, {"tools": 200}),
        (MintingMeasure.CREDITS, {"credits": 5000 * CREDIT}),
    ):
        crew = Crew(watch())
        now = crew.work(0.0, 120)
        (step,) = crew.watch.observe(seen(1, **odd), now).steps
        assert step.finding is not None
        assert step.finding.measure is measure
        assert step.finding.usual is not None
        assert step.finding.usual < step.finding.limit < step.finding.value


def test_one_parent_with_many_children_is_found() -> None:
    """Spread over minutes, so that no minute has many mints."""
    crew = Crew(watch())
    now, found = crew.work(0.0, 120), []
    for number in range(200):
        step = crew.watch.observe(seen(number, 5, seconds=9000), now + number * 20).steps
        found += [each.finding.measure for each in step if each.finding]
    assert MintingMeasure.FAN_OUT in found
    assert MintingMeasure.MINTS not in found


def test_a_branch_that_is_extended_all_the_time_is_found() -> None:
    """By its pace against other branches', and by the ceiling of how often in all."""
    crew = Crew(watch())
    now = crew.work(0.0, 300)
    (step,) = [
        step
        for number in range(60)
        for step in crew.watch.observe(seen(9, 1, iat=number, is_new=False), now + number).steps
    ]
    assert step.finding is not None
    assert step.finding.measure is MintingMeasure.PACE
    capped = watch(WatchRules(extensions=2))
    steps = [capped.observe(seen(9, iat=n, is_new=n == 0), n * 700).steps for n in range(4)]
    assert [bool(each) for each in steps] == [False, False, False, True]


def test_the_same_grant_twice_counts_once() -> None:
    """Whoever is refused and tries again moves nothing; nor does one told of by two who saw it."""
    made = watch(WatchRules(mode=EnforcementLevel.QUARANTINE, mints_per_minute=3))
    for number in range(3):
        for _ in range(50):
            assert made.observe(seen(number), 10.0).admitted
    assert made.states() == []


def test_who_is_throttled_gets_its_usual_rate_and_calms_down() -> None:
    """New branches wait for the next minute; live ones are extended; then all is as before."""
    made = watch(WatchRules(mode=EnforcementLevel.QUARANTINE, mints_per_minute=4, strikes=9))
    admitted = [made.observe(seen(number), 0.0).admitted for number in range(9)]
    assert admitted == [True] * 4 + [False] * 5
    assert made.observe(seen(0, iat=101, is_new=False, grows=True), 1.0).admitted
    assert not made.observe(seen(8), 59.0).admitted
    assert made.observe(seen(8), 61.0).admitted  # one a minute: nothing is usual yet
    assert not made.observe(seen(7), 62.0).admitted
    assert made.poll(60.0, WALL)[0] == []
    ((step,), _) = made.poll(900.0, WALL)
    assert (step.was, step.level, step.cause) == (
        EnforcementLevel.THROTTLE,
        EnforcementLevel.OBSERVE,
        TransitionCause.CALM,
    )
    assert made.observe(seen(7), 901.0).admitted


@pytest.mark.parametrize("mode", [EnforcementLevel.OBSERVE, EnforcementLevel.THROTTLE])
def test_no_more_is_done_than_the_mode_says(mode: EnforcementLevel) -> None:
    """The ladder is climbed as always, and each step says what is in force."""
    made = watch(WatchRules(mode=mode, mints_per_minute=1, strikes=1))
    steps = [step for n in range(3) for step in made.observe(seen(n), 0.0).steps]
    assert [(step.level, step.in_force) for step in steps] == [(EnforcementLevel.QUARANTINE, mode)]
    assert made.observe(seen(5), 0.0).admitted is (mode is EnforcementLevel.OBSERVE)


def test_after_a_lift_what_it_does_is_usual() -> None:
    """A person vouches for it: its baselines begin anew, and nothing is held against it."""
    crew = Crew(watch())
    now = crew.work(0.0, 120)
    for number in range(300):
        crew.watch.observe(seen(number, 1), now)
    assert crew.watch.states()
    step = crew.watch.lift("article", "article/one", WALL)
    assert (step.level, step.by, step.cause) == (
        EnforcementLevel.OBSERVE,
        "owner",
        TransitionCause.LIFT,
    )
    for number in range(300, 600):
        assert crew.watch.observe(seen(number, 1), now + 1) == GrantAdmission(admitted=True)


# Bounds, restarts, clocks.


def test_orchestrators_stay_within_the_memory_bound() -> None:
    """4 KiB each with their branches, and the branches of all have a bound of their own."""
    made, count = AdmissionController(), deep(2_000)
    tracemalloc.start()
    try:
        number = 0
        for minute in range(4):
            for name in range(count):
                number += 1
                crew = f"c{name % 4}"
                grant = seen(number, crew=crew, orchestrator=f"{crew}/{name}", branch=key(number))
                made.observe(grant, 60.0 * minute)
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(made) == count + 4
    assert used < count * 4096


def test_branches_are_bounded_in_all_of_a_crew_and_of_one() -> None:
    """A flood is remembered no further than that, and leaves the other crew its half."""
    made = watch(branches_max=64)
    for number in range(200):
        made.observe(seen(number), 0.0)
    assert made._quota.taken == 32
    for number in range(200):
        made.observe(seen(number, crew="bd", orchestrator="bd/one"), 0.0)
    assert made._quota.taken == 64
    with patch.object(limits, "watch_branches_each_max", 8):
        small = watch()
        for number in range(20):
            small.observe(seen(number), 0.0)
        assert small._quota.taken == 9


def test_branches_are_forgotten_an_hour_after_their_end() -> None:
    """Also those of an orchestrator that is never heard of again."""
    made = watch()
    made.observe(seen(1), 0.0)
    made.poll(900.0 + limits.watch_branch_seconds - 61, WALL)
    assert made._quota.taken == 2
    made.poll(900.0 + limits.watch_branch_seconds + 61, WALL)
    assert made._quota.taken == 0


def test_a_restart_keeps_places_and_lessons() -> None:
    """What a restored watch calls unusual is what the old one did; who was held is held."""
    crew = Crew(watch())
    now = crew.work(0.0, 120)
    crew.watch.quarantine("article", "article/two", now, WALL)
    again = watch()
    again.restore([ProfileSnapshot("article", "article/one"), *crew.watch], 5.0)
    assert {each.orchestrator: each for each in again} == {
        each.orchestrator: each for each in crew.watch
    }
    assert not again.observe(seen(1, orchestrator="article/two"), 6.0).admitted
    steps = [step for n in range(300) for step in again.observe(seen(n, 1), 6.0).steps]
    assert [step.orchestrator for step in steps] == ["article/one"]


def test_what_was_minted_before_says_nothing_of_a_rate() -> None:
    """After a reboot all live branches come at once: admitted, unless somebody is held."""
    made = watch(
        WatchRules(mode=EnforcementLevel.QUARANTINE, mints_per_minute=3, newcomers_per_minute=1)
    )
    for number in range(50):
        old = seen(number, is_old=True, orchestrator=f"article/{number % 5}", kid="k2")
        assert made.observe(old, 1.0) == GrantAdmission(admitted=True)
    made.quarantine("article", "article/1", 1.0, WALL)
    held = seen(51, is_old=True, orchestrator="article/1", kid="k2")
    assert not made.observe(held, 1.0).admitted
    alias = seen(52, is_old=True, orchestrator="article/alias", kid="k2")
    assert not made.observe(alias, 1.0).admitted
    steps = [made.observe(seen(n, orchestrator="article/2"), 1.0).steps for n in range(60, 64)]
    assert [bool(each) for each in steps] == [False, False, False, True]


def test_a_restart_shows_no_calm() -> None:
    """Whoever was throttled must be calm from the restart on."""
    made = watch()
    made.restore(
        [ProfileSnapshot("article", "article/one", EnforcementLevel.THROTTLE, "watch")], 100.0
    )
    assert made.poll(100.0 + 899, WALL)[0] == []
    assert len(made.poll(100.0 + 900, WALL)[0]) == 1


def test_lessons_are_told_to_be_kept_now_and_then() -> None:
    """A new name at once, then every ten minutes of work; of silence nothing."""
    crew = Crew(watch())
    crew.mint(0.0)
    kept = {each.orchestrator for each in crew.watch.poll(1.0, WALL)[1]}
    assert kept == {"article/one", "article/*"}
    assert crew.watch.poll(2.0, WALL)[1] == []
    crew.mint(300.0)
    assert crew.watch.poll(599.0, WALL)[1] == []
    kept = {each.orchestrator for each in crew.watch.poll(601.0, WALL)[1]}
    assert kept == {"article/one", "article/*"}
    crew.mint(660.0)
    assert crew.watch.poll(1200.0, WALL)[1] == []
    assert [each.orchestrator for each in crew.watch.poll(1201.0, WALL)[1]] == ["article/one"]
    assert crew.watch.poll(90_000.0, WALL)[1] == []


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=60))
def test_no_clock_makes_it_raise(times: list[float]) -> None:
    """Its clock is one that nobody sets; should one be set all the same, nothing breaks."""
    made = watch()
    for number, now in enumerate(times):
        assert made.observe(seen(number, number - 1 if number else None), now).admitted
        made.poll(now, WALL)


# Nothing is too little to be unusual.
EAGER = {measure: MeasureScale(scale.weight) for measure, scale in SCALES.items()}
OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.5, 5.0, 61.0, 61.0, 61.0, 130.0, 400.0]),
        st.sampled_from(
            ["mint", "mint", "mint", "extend", "extend", "again", "look", "set", "lift", "told"]
        ),
        st.integers(0, 7),
        st.integers(0, 7),
    ),
    min_size=40,
    max_size=120,
)
RULES = st.builds(
    WatchRules,
    mode=st.sampled_from(list(EnforcementLevel)),
    sensitivity=st.sampled_from(list(SensitivityLevel)),
    strikes=st.integers(1, 3),
    calm_seconds=st.sampled_from([60.0, 300.0]),
    quarantine_seconds=st.sampled_from([60, 400]),
    mints_per_minute=st.none() | st.integers(1, 4),
    fan_out=st.none() | st.integers(1, 3),
    depth=st.none() | st.integers(0, 4),
    extensions=st.none() | st.integers(0, 2),
    credits_per_hour=st.none() | st.just(30 * CREDIT),
)


@settings(max_examples=150)
@given(RULES, OPERATIONS)
def test_it_does_what_the_slow_model_does(
    rules: WatchRules, operations: list[tuple[float, str, int, int]]
) -> None:
    """Every answer, every finding and every level; baselines are warm after two minutes."""
    with patch.object(baseline, "_WARM", 2), patch.dict(SCALES, EAGER):
        made, model = watch(rules), Model(rules)
        made.restore([ProfileSnapshot("article", "article/one")], 0.0)
        now, minted, iat = 0.0, [0], 100
        parents: dict[int, int | None] = {}
        model.turn(now)
        for wait, what, one, other in operations:
            now += wait
            if now > 3000:  # no branch is forgotten yet
                break
            iat += one % 2
            wall = WALL + int(now)
            if what == "look":
                made.poll(now, wall)
                model.look(now, wall)
                continue
            if what in {"set", "lift", "told"}:
                _by_others(made, model, what, now)
                continue
            if what == "mint":
                branch = minted[-1] + 1
                parents[branch] = minted[one % len(minted)] if other % 2 else None
                minted.append(branch)
                grant = seen(
                    branch,
                    parents[branch],
                    depth=other,
                    patterns=1 + one * other,
                    tools=one * 20,
                    iat=iat,
                    at=wall,
                )
            else:
                branch = minted[one % len(minted)]
                is_new = what == "again"
                grant = seen(
                    branch,
                    parents.get(branch),  # a branch keeps its path
                    iat=iat,
                    at=wall,
                    is_new=is_new,
                    grows=other % 2 == 0,
                    credits=0,
                    depth=0,
                )
            answer = made.observe(grant, now)
            found = [step.finding.measure for step in answer.steps if step.finding]
            levels = [each.level for each in made.states()] or [EnforcementLevel.OBSERVE]
            assert (answer.admitted, levels[0], found[0] if found else None) == model.see(
                grant, now
            )


def _by_others(made: AdmissionController, model: Model, what: str, now: float) -> None:
    """A person, or the watch of a machine whose clock is ahead by ever more."""
    name, wall = ("article", "article/one"), WALL + int(now)
    if what == "set":
        made.quarantine(*name, now, wall, 100)
        model.set(wall + 100)
    elif what == "told":
        model.told += 1
        word = EnforcementOrder(WALL + 10_000 * model.told, "watch", wall + 200)
        step = made.apply_remote(*name, now, word, is_news=True)
        assert (step is None) == (model.by == "owner")
        if model.by != "owner":
            model.set(wall + 200, "watch")
    elif model.level is not EnforcementLevel.OBSERVE:
        made.lift(*name, wall)
        model.lift()
    else:
        with pytest.raises(IllegalStepError):
            made.lift(*name, wall)
