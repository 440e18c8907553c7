"""Baselines: what is usual, when it is known, and how fast they can be taught."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewgate.core.anomaly.baseline import Baseline, MeasureScale, SensitivityLevel

MINUTE = 60.0
DAY = 86_400.0
# Doublings that a limit is above its mean at most: so many deviations, each at most one.
WIDEST = {SensitivityLevel.LOW: 6.0, SensitivityLevel.NORMAL: 4.0, SensitivityLevel.HIGH: 3.0}
PLACES = st.floats(0, 60, allow_nan=False)


def warm(place: float = 3.0) -> Baseline:
    """One that has only ever seen `place`."""
    baseline = Baseline()
    while not baseline.is_warm:
        baseline.fold(place, MINUTE)
    return baseline


def test_nothing_is_unusual_before_it_is_warm() -> None:
    """An hour of work comes first."""
    baseline = Baseline()
    for _ in range(59):
        baseline.fold(3.0, MINUTE)
        assert baseline.limit(SensitivityLevel.HIGH) is None
    baseline.fold(3.0, MINUTE)
    assert baseline.limit(SensitivityLevel.HIGH) == 5.0


def test_while_it_is_cold_all_minutes_count_alike() -> None:
    """The mean is the arithmetic one."""
    baseline = Baseline()
    for place in range(60):
        baseline.fold(float(place), MINUTE)
    assert baseline.mean == pytest.approx(29.5)


@pytest.mark.parametrize(("sensitivity", "factor"), [("low", 16), ("normal", 8), ("high", 4)])
def test_a_limit_is_a_factor(sensitivity: str, factor: int) -> None:
    """Of a steady count, one below so many times as much is usual."""
    scale = MeasureScale()
    limit = warm(scale.of(9)).limit(SensitivityLevel(sensitivity))
    assert limit is not None
    assert scale.back(limit) == 10 * factor - 1


def test_noise_widens_the_limit_only_so_far() -> None:
    """A mean that swings for a year is judged within the widest limit."""
    baseline = warm()
    for minute in range(20_000):
        baseline.fold(60.0 * (minute % 2), MINUTE)
    for sensitivity in SensitivityLevel:
        limit = baseline.limit(sensitivity)
        assert limit is not None
        assert limit <= baseline.mean + WIDEST[sensitivity]


@given(st.lists(st.tuples(PLACES, st.floats(-1e6, 1e6)), min_size=1, max_size=200))
def test_the_mean_moves_by_one_doubling_a_day_at_most(told: list[tuple[float, float]]) -> None:
    """Whatever the minutes say and however they are spaced; a clock that goes back moves none."""
    baseline = warm()
    for place, elapsed in told:
        before = baseline.mean
        baseline.fold(place, elapsed)
        assert abs(baseline.mean - before) <= max(0.0, elapsed) / DAY + 1e-12
        assert 0 <= baseline.deviation <= 1
        limit = baseline.limit(SensitivityLevel.NORMAL)
        assert limit is not None
        assert limit <= baseline.mean + WIDEST[SensitivityLevel.NORMAL]


def test_silence_stores_up_no_allowance() -> None:
    """After a month without a grant one minute moves the mean no further than after an hour."""
    one, other = warm(), warm()
    one.fold(60.0, 3600.0)
    other.fold(60.0, 30 * DAY)
    assert one.mean == other.mean


@given(st.floats(1.3, 24), st.sampled_from(list(SensitivityLevel)))
def test_who_doubles_faster_than_daily_is_found(
    hours: float, sensitivity: SensitivityLevel
) -> None:
    """Within the widest limit over the difference in pace, for any pace above one a day."""
    baseline, start = warm(), 3.0
    pace = 1 / hours  # doublings an hour
    due = WIDEST[sensitivity] / (pace - 1 / 24 + 1e-9) + 1
    for minute in range(round(min(due, 24 * 365) * 60)):
        place = start + pace * minute / 60
        limit = baseline.limit(sensitivity)
        assert limit is not None
        if place > limit:
            return
        baseline.fold(place, MINUTE)
    assert hours > 23


@given(
    st.integers(0, 2**60),
    st.sampled_from([MeasureScale(), MeasureScale(weight=2), MeasureScale(weight=0)]),
)
def test_a_scale_keeps_the_order(value: int, scale: MeasureScale) -> None:
    """A larger value never stands lower, and `back` is on the near side of its place."""
    assert scale.of(value) <= scale.of(value + 1)
    small = value % 10_000
    assert small - 1 <= scale.back(scale.of(small)) <= small
