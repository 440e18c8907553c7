"""The watch over the wall clock: steps are seen, slews are followed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewgate import limits
from crewgate.agent.clock_monitor import ClockMonitor

S = 10**9
WALL, BOOT = 1_800_000_000 * S, 1_000 * S


def _watch() -> ClockMonitor:
    return ClockMonitor(WALL, BOOT)


@pytest.mark.parametrize("step", [3600, -3600, 3, -3])
def test_a_step_is_seen_at_once_and_forgiven_when_it_is_taken_back(step: int) -> None:
    """An hour off for two seconds: unsteady for exactly those two seconds."""
    watch = _watch()
    seen = []
    for quarter in range(16):
        off = step if 4 <= quarter < 12 else 0
        now = quarter * S // 4
        seen.append(watch.is_steady(WALL + now + off * S, BOOT + now))
    assert seen == [True] * 4 + [False] * 8 + [True] * 4


def test_a_step_that_stays_is_trusted_after_a_while() -> None:
    """The clock was set on purpose: steady again once it has been so for the settling time."""
    watch = _watch()
    settle = round(limits.clock_settle_seconds)
    seen = [watch.is_steady(WALL + (n + 100) * S, BOOT + n * S) for n in range(settle + 3)]
    assert seen == [False] * settle + [True] * 3


def test_a_time_of_day_that_no_jump_has_touched() -> None:
    """It stays where it was believed last, and is the new one once that is trusted."""
    watch = _watch()
    settle = round(limits.clock_settle_seconds)
    for second in range(settle):
        watch.is_steady(WALL + (second + 100) * S, BOOT + second * S)
        assert watch.offset_ns == WALL - BOOT
    watch.is_steady(WALL + (settle + 100) * S, BOOT + settle * S)
    assert watch.offset_ns == WALL + 100 * S - BOOT


def test_a_second_step_starts_the_wait_anew() -> None:
    """A clock that goes on jumping is never trusted."""
    watch = _watch()
    seen = [watch.is_steady(WALL + n * S + n * 10 * S, BOOT + n * S) for n in range(1, 60)]
    assert not any(seen)


def test_small_steps_add_up() -> None:
    """Many steps of a second are seen like one of many seconds: the trust follows slews only."""
    watch = _watch()
    seen = [watch.is_steady(WALL + 2 * n * S, BOOT + n * S) for n in range(5)]
    assert seen == [True, True, True, False, False]


@given(st.lists(st.integers(-500, 500), max_size=200))
def test_a_slewed_clock_is_always_steady(parts_per_million: list[int]) -> None:
    """Whatever a kernel slews, for as long as it likes, is no step."""
    watch = _watch()
    wall, boot = WALL, BOOT
    for rate in parts_per_million:
        boot += 3600 * S
        wall += 3600 * S + 3600 * S * rate // 1_000_000
        assert watch.is_steady(wall, boot)
