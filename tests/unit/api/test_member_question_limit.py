"""Orchestrators cannot use up the questions that the machines answer."""

import itertools

import pytest
import trio.testing
from api_world import BD, BD_OTHER, FINANCE, OPERATOR, Desk, FakeOffice

from crewgate import limits
from crewgate.api.member_question_limit import MemberQuestionLimiter
from crewgate.core.x509.identity_extension import Identity
from crewgate.errors import ControlError

REVOCATIONS = "/v1/revocations"


async def asked(desk: Desk, caller: Identity, path: str, times: int) -> list[int]:
    return [(await desk.ask(caller, "GET", path)).status_code for _ in range(times)]


@pytest.mark.parametrize("path", [REVOCATIONS, "/v1/tree?machine=gw-2", "/v1/branches?machine=g"])
async def test_a_crew_has_a_rate_whatever_its_names(path: str) -> None:
    """Another crew has its own, an operator none."""
    desk, burst = Desk(FakeOffice()), limits.crew_questions_burst
    assert await asked(desk, BD, path, burst) == [200] * burst
    assert 429 in await asked(desk, BD_OTHER, REVOCATIONS, 3)
    assert await asked(desk, FINANCE, path, 3) == [200] * 3
    assert await asked(desk, OPERATOR, path, burst + 9) == [200] * (burst + 9)


@pytest.mark.parametrize("path", ["/v1/tree", "/v1/branches", "/v1/tree?machine=."])
async def test_what_a_cache_answers_has_no_rate(path: str) -> None:
    desk, times = Desk(FakeOffice()), 3 * limits.crew_questions_burst
    assert await asked(desk, BD, path, times) == [200] * times


def takes(limiter: MemberQuestionLimiter) -> int:
    """How many questions a crew may ask now."""
    for taken in itertools.count():
        try:
            limiter.take(BD)
        except ControlError:
            return taken
    raise AssertionError


async def test_a_crew_may_ask_again_later(autojump_clock: trio.testing.MockClock) -> None:
    limiter = MemberQuestionLimiter()
    assert takes(limiter) == limits.crew_questions_burst
    await trio.sleep(2)
    assert takes(limiter) == 2 * limits.crew_questions_per_second
