"""Rates of counts that were read at different times: against a slow model, and one by one."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewgate.cli.top.rates import CallsSinceStart, Counts, RateWindow


def test_a_rate_is_the_difference_over_the_window() -> None:
    """Of the last ten seconds; what came before does not count."""
    window: RateWindow[str] = RateWindow(10)
    for second in range(30):
        window.add(second, {"a": Counts(spent=100 * second if second > 15 else 0, calls=second)})
    assert window.seconds == 10
    assert window.per_minute()["a"] == Counts(spent=(2900 - 1900) * 6, calls=60)


def test_one_reading_has_no_rate() -> None:
    """And a branch that is new has none yet, however much it has spent."""
    window: RateWindow[str] = RateWindow(10)
    assert window.per_minute() == {}
    window.add(0, {"a": Counts(5)})
    assert (window.per_minute(), window.seconds) == ({"a": Counts()}, 0)
    window.add(1, {"a": Counts(6), "b": Counts(10**9)})
    assert window.per_minute() == {"a": Counts(60), "b": Counts()}


def test_readings_that_are_far_apart_still_give_a_rate() -> None:
    """A machine with many branches is read less often than the window is long."""
    window: RateWindow[str] = RateWindow(10)
    for second in (0, 30, 60):
        window.add(second, {"a": Counts(second)})
    assert window.per_minute() == {"a": Counts(60)}


def test_a_count_that_begins_anew_is_no_negative_rate() -> None:
    """As after a restart of the gateway."""
    window: RateWindow[str] = RateWindow(10)
    window.add(0, {"a": Counts(1000)})
    window.add(1, {"a": Counts(10)})
    assert window.per_minute() == {"a": Counts(0)}


def test_what_was_away_for_a_while_has_no_jump() -> None:
    """A machine did not answer, and now its counts are there again."""
    window: RateWindow[str] = RateWindow(10)
    for second in range(11):
        window.add(second, {"a": Counts(second)} if second in {0, 10} else {})
    assert window.per_minute() == {"a": Counts(60)}


@pytest.mark.parametrize("late", [0, 3])
def test_a_minute_that_ends_during_a_reading_counts_nothing_twice(late: int) -> None:
    """The reading says the last minute, and already lacks its calls."""
    calls: CallsSinceStart[str] = CallsSinceStart()
    assert calls.add({"a": (7, 50)}) == {"a": 0}
    assert calls.add({"a": (7, late)}) == {"a": 0}
    assert calls.add({"a": (7, 53)}) == {"a": 3}
    assert calls.add({"a": (8, 4)}) == {"a": 7}


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 130)), max_size=40))
def test_no_call_is_counted_twice(steps: Sequence[tuple[int, int]]) -> None:
    """Between readings some calls are made and some seconds pass: the sum is never more than that.

    Only calls between the last reading of a minute and its end can be missing.
    """
    calls: CallsSinceStart[str] = CallsSinceStart()
    second, minute, in_minute, made, seen = 0, 0, 0, 0, 0
    calls.add({"a": (0, 0)})
    may_be_missing = 0
    for more, seconds in steps:
        in_minute, made = in_minute + more, made + more
        may_be_missing += more if (second + seconds) // 60 != minute else 0
        second += seconds
        if second // 60 != minute:
            minute, in_minute = second // 60, 0
        seen = calls.add({"a": (minute, in_minute)})["a"]
        assert made - may_be_missing <= seen <= made
