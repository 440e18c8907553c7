"""The retry budget, by hand and against a model that remembers every call."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewgate import limits
from crewgate._datapath.retry_budget import RetryBudget

WINDOW = limits.retry_window_seconds


def _taken(budget: RetryBudget, now: float, tries: int) -> int:
    return sum(budget.take(now) for _ in range(tries))


def test_a_share_of_the_calls_may_be_retried() -> None:
    """Of a thousand calls two hundred, and the floor besides."""
    budget = RetryBudget(0.2)
    for _ in range(1000):
        budget.called(5.0)
    assert _taken(budget, 5.0, 1000) == 200 + limits.retry_floor_per_second * WINDOW


def test_without_calls_the_floor_is_left() -> None:
    """A quiet upstream may retry a few times, again in the next window."""
    budget = RetryBudget(0.2, floor=1)
    assert _taken(budget, 0.0, 100) == WINDOW
    assert _taken(budget, WINDOW - 0.1, 100) == 0
    assert _taken(budget, WINDOW, 100) == WINDOW


def test_what_calls_earned_is_forgotten() -> None:
    """A busy time pays for no retry after the window."""
    budget = RetryBudget(0.5, floor=0)
    for _ in range(100):
        budget.called(3.5)
    assert budget.take(3.5 + WINDOW - 1)
    assert not budget.take(4.0 + WINDOW)
    assert not budget.take(1e9)


EVENTS = st.lists(
    st.tuples(st.floats(0, 4), st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=60
)


@given(EVENTS, st.sampled_from([0.01, 0.2, 1.0]), st.sampled_from([0.0, 0.1, 3.0]))
def test_it_decides_as_a_model_that_remembers_everything(
    events: list[tuple[float, int, int]], share: float, floor: float
) -> None:
    """Every answer is that of counting all calls and retries of the window's seconds."""
    budget = RetryBudget(share, floor)
    calls: list[float] = []
    retries: list[float] = []
    now = 1000.0
    for seconds, called, tried in events:
        now += seconds
        for _ in range(called):
            budget.called(now)
            calls.append(now)
        for _ in range(tried):
            window = range(int(now) - WINDOW + 1, int(now) + 1)
            made = sum(int(time) in window for time in retries)
            earned = share * sum(int(time) in window for time in calls) + floor * WINDOW
            assert budget.take(now) == (made + 1 <= earned)
            if made + 1 <= earned:
                retries.append(now)


@pytest.mark.parametrize("step", [0.0, 0.3, 1.0, WINDOW * 3.0])
def test_a_clock_that_steps_back_is_no_step(step: float) -> None:
    """Nothing is forgotten, earned or raised by it."""
    budget = RetryBudget(0.2, floor=0)
    for _ in range(10):
        budget.called(100.0)
    assert _taken(budget, 100.0 - step, 10) == 2
