"""The ladder observe → throttle → quarantine: its table, its hysteresis, and who may move it."""

from itertools import permutations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewgate.core.anomaly.enforcement import (
    TRANSITIONS,
    By,
    EnforcementLevel,
    EnforcementOrder,
    EnforcementState,
    IllegalStepError,
    TransitionCause,
)

CALM = 900.0
WALL = 1_800_000_000
HOUR = 3600


def place(level: EnforcementLevel, *, by_owner: bool = False) -> EnforcementState:
    """Somebody who stands there since the beginning."""
    return EnforcementState(
        level, "owner" if by_owner else "" if level is EnforcementLevel.OBSERVE else "watch", 0.0
    )


def test_the_table_has_a_row_for_every_step_but_four() -> None:
    """From `observe` nobody calms down or is lifted, and only a quarantine has an end."""
    missing = set(product(EnforcementLevel, TransitionCause)) - set(TRANSITIONS)
    assert missing == {
        (EnforcementLevel.OBSERVE, TransitionCause.CALM),
        (EnforcementLevel.OBSERVE, TransitionCause.LIFT),
        (EnforcementLevel.OBSERVE, TransitionCause.LAPSE),
        (EnforcementLevel.THROTTLE, TransitionCause.LAPSE),
    }


def test_only_calm_an_end_and_a_person_lead_down() -> None:
    """Whatever else happens, nobody stands lower afterwards."""
    order = list(EnforcementLevel)
    for (level, cause), after in TRANSITIONS.items():
        if cause not in {TransitionCause.CALM, TransitionCause.LIFT, TransitionCause.LAPSE}:
            assert order.index(after) >= order.index(level)


def test_strikes_climb_one_rung_and_then_the_last() -> None:
    """One bad minute is a throttle, the third without calm between them a quarantine."""
    one = place(EnforcementLevel.OBSERVE)
    assert one.strike(0.0, 3, CALM) is TransitionCause.STRIKE
    assert one.level is EnforcementLevel.THROTTLE
    assert one.strike(60.0, 3, CALM) is TransitionCause.STRIKE
    assert one.level is EnforcementLevel.THROTTLE
    assert one.strike(120.0, 3, CALM) is TransitionCause.OUT
    assert one.level is EnforcementLevel.QUARANTINE
    assert one.by == "watch"


def test_strikes_far_apart_do_not_add_up() -> None:
    """A burst a day never quarantines anybody."""
    one = place(EnforcementLevel.OBSERVE)
    for day in range(10):
        assert one.strike(day * 86_400.0, 3, CALM) is TransitionCause.STRIKE
    assert one.level is EnforcementLevel.THROTTLE


def test_who_is_throttled_must_be_calm_for_long_enough() -> None:
    """Each strike begins the calm anew; a look a second too early changes nothing."""
    one = place(EnforcementLevel.OBSERVE)
    one.strike(0.0, 9, CALM)
    one.strike(500.0, 9, CALM)
    assert one.step_down_if_due(500.0 + CALM - 1, WALL, EnforcementLevel.QUARANTINE, CALM) is None
    assert one.level is EnforcementLevel.THROTTLE
    assert (
        one.step_down_if_due(500.0 + CALM, WALL, EnforcementLevel.QUARANTINE, CALM)
        is TransitionCause.CALM
    )
    assert (one.level, one.by, one.strikes) == (EnforcementLevel.OBSERVE, "", 0)


def test_a_quarantine_in_force_waits_for_its_end() -> None:
    """No calm ends it: what is refused proves nothing. Nor does a time of day that is not known."""
    one = place(EnforcementLevel.QUARANTINE)
    one.hold(WALL, WALL + HOUR, is_untold=True)
    for wall in (0, WALL, WALL + HOUR - 1):
        assert one.step_down_if_due(1e9, wall, EnforcementLevel.QUARANTINE, CALM) is None
    assert (
        one.step_down_if_due(1e9, WALL + HOUR, EnforcementLevel.QUARANTINE, CALM)
        is TransitionCause.LAPSE
    )
    assert (one.level, one.by, one.is_untold) == (EnforcementLevel.OBSERVE, "", False)
    assert one.step_down_if_due(1e9, WALL + 2 * HOUR, EnforcementLevel.QUARANTINE, CALM) is None


def test_one_of_a_journal_of_before_there_were_ends_waits_for_a_person() -> None:
    """As it did when it was set."""
    one = place(EnforcementLevel.QUARANTINE)
    assert one.step_down_if_due(1e9, 10 * WALL, EnforcementLevel.QUARANTINE, CALM) is None
    one.lift(WALL)
    assert one.level is EnforcementLevel.OBSERVE


def test_whoever_went_on_to_the_end_is_quarantined_by_its_first_bad_minute() -> None:
    """An end vouches for nobody; whoever was calm before it begins anew."""
    for calm_before, cause in ((60.0, TransitionCause.OUT), (CALM, TransitionCause.STRIKE)):
        one = place(EnforcementLevel.OBSERVE)
        for minute in range(3):
            one.strike(60.0 * minute, 3, CALM)
        one.hold(WALL, WALL + HOUR, is_untold=False)
        for ten_minutes in range(1, 7):
            one.strike(600.0 * ten_minutes, 3, CALM)
        assert (
            one.step_down_if_due(HOUR, WALL + HOUR, EnforcementLevel.QUARANTINE, CALM)
            is TransitionCause.LAPSE
        )
        assert one.strike(HOUR + calm_before, 3, CALM) is cause


@pytest.mark.parametrize("mode", [EnforcementLevel.OBSERVE, EnforcementLevel.THROTTLE])
def test_a_quarantine_that_is_only_noted_goes_with_the_calm(mode: EnforcementLevel) -> None:
    """Where the mode is lower it was never in force."""
    one = place(EnforcementLevel.QUARANTINE)
    one.hold(WALL, WALL + HOUR, is_untold=False)
    assert one.in_force(mode) is mode
    assert one.step_down_if_due(1e9, WALL, mode, CALM) is TransitionCause.CALM
    assert one.step_down_if_due(1e9, WALL + HOUR, mode, CALM) is None


@pytest.mark.parametrize("mode", list(EnforcementLevel))
def test_what_a_person_set_is_in_force_whatever_the_mode(mode: EnforcementLevel) -> None:
    """And it stays until its end."""
    one = place(EnforcementLevel.OBSERVE)
    one.set(WALL, WALL + HOUR)
    assert one.in_force(mode) is EnforcementLevel.QUARANTINE
    one.strike(5.0, 1, CALM)
    assert one.by == "owner"
    assert one.step_down_if_due(1e9, WALL, mode, CALM) is None
    assert one.step_down_if_due(1e9, WALL + HOUR, mode, CALM) is TransitionCause.LAPSE


def test_an_illegal_step_raises_and_changes_nothing() -> None:
    """Lifting what nothing holds."""
    one = place(EnforcementLevel.OBSERVE)
    with pytest.raises(IllegalStepError, match="neither throttled nor quarantined"):
        one.lift(WALL)
    assert (one.level, one.owner) == (EnforcementLevel.OBSERVE, EnforcementOrder(0))


def test_a_person_may_take_over_what_the_watch_has_set() -> None:
    """From then on no lower mode of a new configuration lets it go, and the end is the person's."""
    one = place(EnforcementLevel.QUARANTINE)
    one.hold(WALL, WALL + 9 * HOUR, is_untold=True)
    one.set(WALL, WALL + HOUR)
    assert one.in_force(EnforcementLevel.OBSERVE) is EnforcementLevel.QUARANTINE
    assert (
        one.step_down_if_due(0.0, WALL + HOUR, EnforcementLevel.OBSERVE, CALM)
        is TransitionCause.LAPSE
    )
    assert one.held == EnforcementOrder(0)


def test_set_once_more_its_end_moves() -> None:
    """To a later time or an earlier one; in one second as well."""
    one = place(EnforcementLevel.OBSERVE)
    for hours in (3, 1, 2):
        one.set(WALL, WALL + hours * HOUR)
        assert one.held.until == WALL + hours * HOUR
    assert one.owner.at == WALL + 2


# What other machines say.


def test_what_a_watch_says_elsewhere_is_in_force_as_far_as_the_mode_goes() -> None:
    """And has its own end; it is not told on."""
    one = place(EnforcementLevel.OBSERVE)
    assert one.apply_remote(EnforcementOrder(WALL, "watch", WALL + HOUR)) is TransitionCause.REMOTE
    assert (one.level, one.by, one.is_untold) == (EnforcementLevel.QUARANTINE, "watch", False)
    assert one.in_force(EnforcementLevel.OBSERVE) is EnforcementLevel.OBSERVE
    assert (
        one.step_down_if_due(0.0, WALL + HOUR, EnforcementLevel.QUARANTINE, CALM)
        is TransitionCause.LAPSE
    )


def test_a_lift_counts_by_clocks_that_lag_and_in_the_same_second() -> None:
    """Whoever lifts knows what it lifts: its word is the later one, and elsewhere too."""
    here, there = place(EnforcementLevel.OBSERVE), place(EnforcementLevel.OBSERVE)
    word = EnforcementOrder(WALL + 30, "watch", WALL + HOUR)
    for one in (here, there):
        one.apply_remote(word)
    here.lift(WALL)
    assert there.apply_remote(here.owner) is TransitionCause.LIFT
    assert there.level is EnforcementLevel.OBSERVE
    assert there.apply_remote(word) is None
    assert there.level is EnforcementLevel.OBSERVE


def test_a_lift_lets_a_throttled_one_go_too() -> None:
    """Once, and also where it had moved nothing, no older word does any more."""
    one = place(EnforcementLevel.OBSERVE)
    assert one.apply_remote(EnforcementOrder(WALL + 1)) is None
    assert one.apply_remote(EnforcementOrder(WALL, "owner", WALL + HOUR)) is None
    one.strike(0.0, 3, CALM)
    assert one.apply_remote(EnforcementOrder(WALL + 2)) is TransitionCause.LIFT
    assert one.level is EnforcementLevel.OBSERVE
    one.strike(0.0, 3, CALM)
    assert one.apply_remote(EnforcementOrder(WALL + 2)) is None
    assert one.level is EnforcementLevel.THROTTLE


@pytest.mark.parametrize("mode", list(EnforcementLevel))
def test_what_was_over_is_not_begun_again_by_the_words_of_before(mode: EnforcementLevel) -> None:
    """A restart hears all that has not expired, such as a watch's within a person's short word."""
    one = place(EnforcementLevel.OBSERVE)
    late = EnforcementOrder(WALL + 10, "watch", WALL + HOUR)
    one.apply_remote(EnforcementOrder(WALL, "owner", WALL + 60))
    one.apply_remote(late)
    assert one.step_down_if_due(0.0, WALL + 60, mode, CALM) is TransitionCause.LAPSE
    assert one.apply_remote(late) is None
    assert one.apply_remote(late._replace(at=WALL + 11)) is TransitionCause.REMOTE
    if one.step_down_if_due(CALM, WALL + 61, mode, CALM):
        assert mode is not EnforcementLevel.QUARANTINE
        assert one.apply_remote(late._replace(at=WALL + 11)) is None


WORDS = st.lists(
    st.builds(
        EnforcementOrder,
        st.integers(WALL, WALL + 4),
        st.sampled_from(["watch", "owner"]),
        st.integers(WALL + 10, WALL + 13),
    )
    | st.builds(EnforcementOrder, st.integers(WALL, WALL + 4)),
    max_size=4,
)


@given(WORDS)
def test_in_whatever_order_they_are_heard_all_stand_alike(words: list[EnforcementOrder]) -> None:
    """Twice or once. A person's last word counts; a watch's, if it is no older than that."""
    persons = [each for each in words if each.by != "watch"]
    last = max(persons, key=lambda each: each.order, default=EnforcementOrder(0))
    later = [each for each in words if each.by == "watch" and each.at >= last.at]
    held = last if last.by else max(later, key=lambda each: each.order, default=EnforcementOrder(0))
    for order in permutations(words):
        one = place(EnforcementLevel.OBSERVE)
        for word in (*order, *order[:1]):
            before = one.level, one.by, one.held
            moved = one.apply_remote(word)
            assert (moved is None) == (before == (one.level, one.by, one.held))
        by: By = held.by
        assert (one.held, one.by) == (held, by)
        assert one.level is (EnforcementLevel.QUARANTINE if by else EnforcementLevel.OBSERVE)
