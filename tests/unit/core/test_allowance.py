"""Which credits come back: a crew's of the hour or the day that is spent, and no branch's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lessees import grant
from msgspec import structs

from crewgate.core.accounts import MemoryLedger
from crewgate.core.allowance import explained
from crewgate.core.ledger import Allowance, Draw, Exhausted, Level, Open, Path
from crewgate.core.policy import Crew, Policy
from crewgate.core.verdict import Denial, Reason, Spent

GRANT = grant(1, 50)
DAY, HOUR = 86_400, 3600
NOON = 20_000 * DAY + 12 * HOUR


def policy(**caps: int) -> Policy:
    """One crew, with these allowances."""
    other = Crew("other", "https://other", hourly_max=7)
    return Policy("https://a", (), (other, Crew(GRANT.crew, "https://b", **caps)), ())


def spent(quota: int, level: str = GRANT.crew, reason: Reason = Reason.CREDITS_EXHAUSTED) -> Denial:
    """A refusal by a cap."""
    return Denial(reason, GRANT, level=level, used=quota, quota=quota, need=5)


@pytest.mark.parametrize(
    ("caps", "quota", "seconds"),
    [
        ({"hourly_max": 10, "daily_max": 100}, 10, HOUR),
        ({"hourly_max": 10, "daily_max": 100}, 100, DAY),
        ({"hourly_max": 10}, 10, HOUR),
        ({"daily_max": 100}, 100, DAY),
        ({"hourly_max": 10, "daily_max": 10}, 10, DAY),
        ({"hourly_max": 20, "daily_max": 100}, 10, HOUR),  # a cap of before a reload
    ],
)
def test_the_cap_tells_the_window(caps: dict[str, int], quota: int, seconds: int) -> None:
    """And the clock its end."""
    found = explained(spent(quota), policy(**caps), NOON + 100.5)
    ends = NOON + HOUR if seconds == HOUR else NOON + 12 * HOUR
    assert found.window == Spent(seconds, ends, ends - NOON - 100)


@pytest.mark.parametrize(
    "denial",
    [
        spent(10, GRANT.branch),
        spent(10, "0199c1d2-0000-7000-8000-0000000000aa"),
        spent(10, reason=Reason.TOOL_NOT_ALLOWED),
        spent(2**53 - 1),
        Denial(Reason.CREDITS_EXHAUSTED),
    ],
)
def test_nothing_else_comes_back(denial: Denial) -> None:
    """A branch's own cap, an ancestor's, a crew without an allowance: the denial stays as it is."""
    assert explained(denial, policy(hourly_max=10, daily_max=100), NOON) is denial
    assert explained(spent(10), Policy("https://a", (), (), ()), NOON).window is None


def test_a_call_that_needs_more_than_the_cap_waits_for_no_window() -> None:
    """It would be refused after each; one that needs just the cap is not."""
    caps = policy(hourly_max=50, daily_max=100)
    dear = Denial(Reason.CREDITS_EXHAUSTED, GRANT, level=GRANT.crew, quota=50, need=51)
    assert explained(dear, caps, NOON) is dear
    assert explained(structs.replace(dear, need=50), caps, NOON).window is not None


@given(st.integers(1, 60), st.integers(1, 60), st.lists(st.integers(1, 9), max_size=40))
def test_after_the_window_that_is_named_the_ledger_grants_again(
    hourly: int, daily: int, needs: list[int]
) -> None:
    """Whatever was drawn before: at its end it does, or it names the day instead."""
    crew, branch = b"c" * 16, b"b" * 16
    ledger, now = MemoryLedger(), float(NOON)
    levels = (Level(branch, 10**6, 1),)
    ledger.open(Open(Path(crew, Allowance(hourly, daily), levels), "h", b"1" * 16))
    caps, seq = policy(hourly_max=hourly, daily_max=daily), 0
    for need in (*needs, 10):
        seq += 1
        answer = ledger.draw(Draw(branch, "h", b"1" * 16, seq, need), now)
        if not isinstance(answer, Exhausted) or need > min(hourly, daily):
            continue
        assert answer.level == crew
        denial = Denial(
            Reason.CREDITS_EXHAUSTED, GRANT, level=GRANT.crew, used=answer.used, quota=answer.quota
        )
        for _ in range(2):
            window = explained(denial, caps, now).window
            assert window is not None
            assert now < window.ends <= now + window.seconds
            now, seq = float(window.ends), seq + 1
            answer = ledger.draw(Draw(branch, "h", b"1" * 16, seq, need), now)
            if not isinstance(answer, Exhausted):
                break
            assert (window.seconds, answer.quota) == (HOUR, daily)
            denial = Denial(Reason.CREDITS_EXHAUSTED, GRANT, level=GRANT.crew, quota=answer.quota)
        assert not isinstance(answer, Exhausted)
