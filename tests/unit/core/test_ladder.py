"""The ladder observe → throttle → quarantine: its table, its hysteresis, and who may move it."""

from itertools import product

import pytest

from crewgate.core.ladder import LADDER, Cause, IllegalStepError, Place, Rung

CALM = 900.0


def place(rung: Rung, *, by_owner: bool = False) -> Place:
    """Somebody who stands there since the beginning."""
    return Place(rung, "owner" if by_owner else "" if rung is Rung.OBSERVE else "watch", 0.0)


def test_the_table_has_a_row_for_every_step_but_two() -> None:
    """From `observe` nobody calms down, and there is nothing to lift."""
    missing = set(product(Rung, Cause)) - set(LADDER)
    assert missing == {(Rung.OBSERVE, Cause.CALM), (Rung.OBSERVE, Cause.LIFT)}


def test_only_calm_and_a_person_lead_down() -> None:
    """Whatever else happens, nobody stands lower afterwards."""
    order = list(Rung)
    for (rung, cause), after in LADDER.items():
        if cause not in {Cause.CALM, Cause.LIFT}:
            assert order.index(after) >= order.index(rung)


def test_strikes_climb_one_rung_and_then_the_last() -> None:
    """One bad minute is a throttle, the third without calm between them a quarantine."""
    one = place(Rung.OBSERVE)
    assert one.strike(0.0, 3, CALM) is Cause.STRIKE
    assert one.rung is Rung.THROTTLE
    assert one.strike(60.0, 3, CALM) is Cause.STRIKE
    assert one.rung is Rung.THROTTLE
    assert one.strike(120.0, 3, CALM) is Cause.OUT
    assert one.rung is Rung.QUARANTINE
    assert one.by == "watch"


def test_strikes_far_apart_do_not_add_up() -> None:
    """A burst a day never quarantines anybody."""
    one = place(Rung.OBSERVE)
    for day in range(10):
        assert one.strike(day * 86_400.0, 3, CALM) is Cause.STRIKE
    assert one.rung is Rung.THROTTLE


def test_who_is_throttled_must_be_calm_for_long_enough() -> None:
    """Each strike begins the calm anew; a look a second too early changes nothing."""
    one = place(Rung.OBSERVE)
    one.strike(0.0, 9, CALM)
    one.strike(500.0, 9, CALM)
    assert not one.look(500.0 + CALM - 1, Rung.QUARANTINE, CALM)
    assert one.rung is Rung.THROTTLE
    assert one.look(500.0 + CALM, Rung.QUARANTINE, CALM)
    assert (one.rung, one.by, one.strikes) == (Rung.OBSERVE, "", 0)


def test_a_quarantine_in_force_waits_for_a_person() -> None:
    """No calm ends it: what is refused proves nothing."""
    one = place(Rung.QUARANTINE)
    assert not one.look(1e9, Rung.QUARANTINE, CALM)
    one.lift()
    assert one.rung is Rung.OBSERVE


@pytest.mark.parametrize("mode", [Rung.OBSERVE, Rung.THROTTLE])
def test_a_quarantine_that_is_only_noted_goes_with_the_calm(mode: Rung) -> None:
    """Where the mode is lower it was never in force."""
    one = place(Rung.QUARANTINE)
    assert one.in_force(mode) is mode
    assert one.look(1e9, mode, CALM)


@pytest.mark.parametrize("mode", list(Rung))
def test_what_a_person_set_is_in_force_whatever_the_mode(mode: Rung) -> None:
    """And it stays."""
    one = place(Rung.OBSERVE)
    one.set()
    assert one.in_force(mode) is Rung.QUARANTINE
    one.strike(5.0, 1, CALM)
    assert one.by == "owner"
    assert not one.look(1e9, mode, CALM)


def test_an_illegal_step_raises_and_changes_nothing() -> None:
    """Setting what a person has set, lifting what nothing holds."""
    one = place(Rung.OBSERVE)
    with pytest.raises(IllegalStepError, match="neither throttled nor quarantined"):
        one.lift()
    assert one.rung is Rung.OBSERVE
    one.set()
    with pytest.raises(IllegalStepError, match="quarantined already"):
        one.set()
    assert (one.rung, one.by) == (Rung.QUARANTINE, "owner")


def test_a_person_may_take_over_what_the_watch_has_set() -> None:
    """From then on no lower mode of a new configuration lets it go."""
    one = place(Rung.QUARANTINE)
    one.set()
    assert one.in_force(Rung.OBSERVE) is Rung.QUARANTINE
