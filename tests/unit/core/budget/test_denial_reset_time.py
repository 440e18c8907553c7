"""Which credits come back: a crew's of the hour or the day that is spent, and no branch's."""

import pytest
from grant_builders import grant
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from crewgate.core.budget.denial_reset_time import explained
from crewgate.core.budget.ledger_protocol import (
    BranchPath,
    BranchPathLevel,
    CrewDrawLimits,
    DrawLease,
    OpenBranches,
    QuotaExhausted,
    window_of,
)
from crewgate.core.budget.memory_ledger import MemoryLedger
from crewgate.core.reasons import Reason
from crewgate.core.verdict import Denial, SpentWindow

GRANT = grant(1, 50)
DAY, HOUR = 86_400, 3600
NOON = 20_000 * DAY + 12 * HOUR
CREW, BRANCH = b"c" * 16, b"b" * 16
NUMBERS = {HOUR: window_of(NOON // HOUR, is_day=False), DAY: window_of(20_000, is_day=True)}


class Books:
    """One crew with a branch, and a draw after the other."""

    def __init__(self, hourly: int, daily: int, quota: int = 10**6) -> None:
        self.ledger = MemoryLedger()
        path = BranchPath(CREW, CrewDrawLimits(hourly, daily), (BranchPathLevel(BRANCH, quota, 1),))
        self.ledger.open(OpenBranches(path, "h", b"1" * 16))
        self.seq = 0

    def draw(self, need: int, now: float) -> object:
        self.seq += 1
        return self.ledger.draw(DrawLease(BRANCH, "h", b"1" * 16, self.seq, need), now)


@pytest.mark.parametrize(
    ("hourly", "daily", "need", "window", "quota"),
    [
        (10, 100, 5, HOUR, 10),
        (100, 10, 5, DAY, 10),
        (10, 10, 5, DAY, 10),
        (10, 13, 5, DAY, 13),  # the hour has less, and the day has too little as well
        (10, 100, 11, 0, 10),  # no hour ever has so much
    ],
)
def test_the_ledger_names_what_keeps_a_call_waiting_longest(
    hourly: int, daily: int, need: int, window: int, quota: int
) -> None:
    """At its end the same call is granted."""
    books = Books(hourly, daily)
    books.draw(10, NOON)
    answer = books.draw(need, NOON + 100.5)
    assert isinstance(answer, QuotaExhausted)
    assert (answer.window, answer.quota) == (NUMBERS[window] if window else 0, quota)


def test_a_clock_that_is_behind_names_the_window_that_the_ledger_charges() -> None:
    """A machine whose clock is ahead has begun the next hour, and spent it."""
    books = Books(10, 10**6)
    books.draw(10, NOON + HOUR)
    answer = books.draw(1, NOON)
    assert isinstance(answer, QuotaExhausted)
    assert answer.window == window_of(NOON // HOUR + 1, is_day=False)


def test_a_cap_for_good_has_no_window() -> None:
    """A branch's own."""
    answer = Books(10**6, 10**6, quota=4).draw(5, NOON)
    assert isinstance(answer, QuotaExhausted)
    assert answer.window == 0


@pytest.mark.parametrize("seconds", [HOUR, DAY])
def test_the_end_is_the_window_s(seconds: int) -> None:
    """And how far that is ahead is by this clock; none is behind."""
    spent = Denial(
        Reason.CREDITS_EXHAUSTED,
        GRANT,
        quota_micro=10,
        need_micro=5,
        window_number=NUMBERS[seconds],
    )
    ends = NOON + HOUR if seconds == HOUR else NOON + 12 * HOUR
    assert explained(spent, NOON + 100.5).window == SpentWindow(seconds, ends, ends - NOON - 100)
    assert explained(spent, ends + 5.0).window == SpentWindow(seconds, ends, 0)


@pytest.mark.parametrize(
    "denial",
    [
        Denial(Reason.CREDITS_EXHAUSTED, GRANT, level=GRANT.branch, quota_micro=10, need_micro=5),
        Denial(Reason.TOOL_NOT_ALLOWED, GRANT),
        Denial(Reason.INVALID_TOKEN),
    ],
)
def test_nothing_else_comes_back(denial: Denial) -> None:
    """A branch's own cap, or what is no matter of credits: the denial stays as it is."""
    assert explained(denial, NOON) is denial


def test_a_call_that_needs_more_than_the_cap_waits_for_no_window() -> None:
    """It would be refused after each; one that needs just the cap is not."""
    dear = Denial(
        Reason.CREDITS_EXHAUSTED, GRANT, quota_micro=50, need_micro=51, window_number=NUMBERS[HOUR]
    )
    assert explained(dear, NOON) is dear
    assert explained(structs.replace(dear, need_micro=50), NOON).window is not None


@given(st.integers(1, 60), st.integers(1, 60), st.lists(st.integers(1, 9), max_size=40))
def test_after_the_window_that_is_named_the_ledger_grants_again(
    hourly: int, daily: int, needs: list[int]
) -> None:
    """Whatever was drawn before."""
    books, now = Books(hourly, daily), float(NOON)
    for need in (*needs, 10):
        answer = books.draw(need, now)
        if not isinstance(answer, QuotaExhausted):
            continue
        assert answer.level == CREW
        assert (answer.window == 0) is (need > min(hourly, daily))
        if answer.window:
            spent = Denial(
                Reason.CREDITS_EXHAUSTED,
                GRANT,
                quota_micro=answer.quota,
                window_number=answer.window,
            )
            window = explained(spent, now).window
            assert window is not None
            assert now < window.ends_at <= now + window.length_seconds
            now = float(window.ends_at)
            assert not isinstance(books.draw(need, now), QuotaExhausted)
