"""When credit is asked for again, and when it is given up; the clock is the test's."""

from collections.abc import Callable
from itertools import pairwise

import pytest
from gateway_world import FakePermit, drawn, grant_of

from crewgate import limits
from crewgate.core.audit.records import CallOutcome
from crewgate.core.reasons import Reason
from crewgate.core.tokens.grant import Grant
from crewgate.core.verdict import Denial
from crewgate.gateway.call.authorizer import DrawCallback
from crewgate.gateway.call.mid_call_top_up import MidCallTopUp

AGAIN = limits.stream_again_seconds_min
SLOWEST = limits.stream_again_seconds_max


class FakeAgent:
    """Answers by `says`, `takes` seconds later; what is to be done later is done in its order."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.says: Callable[[], str] = lambda: ""
        self.takes = 0.0
        self.asked: list[tuple[float, int]] = []
        self.heard: list[CallOutcome | None] = []
        self.pauses = 0
        self._later: list[tuple[float, Callable[[], None]]] = []
        self.background_tasks = self

    def draw(self, grant: Grant, need: int, done: DrawCallback) -> None:
        self.asked.append((self.now - 1000.0, need))
        self._at(self.takes, lambda: done(drawn(self.says())))

    def later(self, seconds: float, work: Callable[[], None]) -> Callable[[], None]:
        self.pauses += 1
        return self._at(seconds, work)

    def run(self) -> None:
        while self._later:
            self._later.sort(key=lambda each: each[0])
            self.now, work = self._later.pop(0)
            work()

    def _at(self, seconds: float, work: Callable[[], None]) -> Callable[[], None]:
        due = (self.now + seconds, work)
        self._later.append(due)
        return lambda: self._later.remove(due) if due in self._later else None


@pytest.fixture
def agent() -> FakeAgent:
    return FakeAgent()


@pytest.fixture
def permit() -> FakePermit:
    return FakePermit(grant_of(), 0)


@pytest.fixture
def top_up(agent: FakeAgent, permit: FakePermit) -> MidCallTopUp:
    return MidCallTopUp(agent, permit, lambda: agent.now)  # type: ignore[arg-type]


@pytest.mark.parametrize("status", ["", "contended", "share", "full", "held"])
def test_an_early_answer_is_asked_about_again_after_a_pause(
    top_up: MidCallTopUp, agent: FakeAgent, status: str
) -> None:
    """For as long as is promised, however soon the answers come: not so often, then less often."""
    agent.says = lambda: status
    top_up.ask(10, 10, agent.heard.append)
    agent.run()
    assert agent.heard == [CallOutcome.UNFUNDED]
    times = [when for when, _ in agent.asked]
    gaps = [after - before for before, after in pairwise(times)]
    assert gaps[:4] == pytest.approx([AGAIN, 2 * AGAIN, 4 * AGAIN, 8 * AGAIN])
    assert max(gaps) == pytest.approx(SLOWEST)
    assert times[-1] == pytest.approx(limits.stream_wait_seconds_max)
    assert len(times) < 30


def test_an_agent_that_comes_back_in_time_is_in_time(
    top_up: MidCallTopUp, agent: FakeAgent
) -> None:
    """A restart takes a second or two."""
    agent.says = lambda: "granted" if agent.now > 1002 else ""
    top_up.ask(10, 10, agent.heard.append)
    assert top_up.asking
    agent.run()
    assert agent.heard == [None]
    assert not top_up.asking
    assert agent.now < 1002 + 2 * SLOWEST


def test_a_late_answer_is_asked_about_again_at_once(top_up: MidCallTopUp, agent: FakeAgent) -> None:
    """The agent had its time to find credit."""
    agent.says, agent.takes = lambda: "contended", limits.credit_wait_seconds
    top_up.ask(10, 10, agent.heard.append)
    agent.run()
    assert agent.pauses <= 1  # the last one, which time cuts short
    assert agent.heard == [CallOutcome.UNFUNDED]


def test_near_the_last_credit_what_is_missing_is_asked_for(
    top_up: MidCallTopUp, agent: FakeAgent
) -> None:
    """A whole step that is not to be had is no reason to wait."""
    answers = iter(["exhausted", "granted"])
    agent.says = lambda: next(answers)
    top_up.ask(3, 10, agent.heard.append)
    agent.run()
    assert agent.asked == [(0, 10), (0, 3)]
    assert agent.heard == [None]


@pytest.mark.parametrize("status", ["exhausted", "mismatch"])
def test_what_stays_so_is_not_asked_about_again(
    top_up: MidCallTopUp, agent: FakeAgent, status: str
) -> None:
    """The call ends with what it had."""
    agent.says = lambda: status
    top_up.ask(10, 10, agent.heard.append)
    agent.run()
    assert agent.heard == [CallOutcome.EXHAUSTED]
    assert len(agent.asked) == 1


def test_a_draw_for_a_closed_branch_ends_the_call_as_revoked(
    top_up: MidCallTopUp, agent: FakeAgent
) -> None:
    """It, or a branch above it, was revoked: no credit is missing, and less is not drawn."""
    agent.says = lambda: "closed"
    top_up.ask(3, 10, agent.heard.append)
    agent.run()
    assert agent.heard == [CallOutcome.REVOKED]
    assert agent.asked == [(0, 10)]
    assert top_up.denial is None


def test_what_the_ledger_said_last_is_kept(top_up: MidCallTopUp, agent: FakeAgent) -> None:
    """For whoever has to be told why: of the question about what was missing, not of the step."""
    last = drawn("exhausted", level="article", used=7, quota=9)
    answers = iter([drawn("exhausted", used=1), last])
    agent.draw = lambda grant, need, done: done(next(answers))  # type: ignore[method-assign]
    assert top_up.denial is None
    top_up.ask(3, 10, agent.heard.append)
    assert top_up.denial == Denial(
        Reason.CREDITS_EXHAUSTED,
        grant_of(),
        level="article",
        used_micro=7,
        quota_micro=9,
        need_micro=3,
    )


def test_who_is_served_after_others_asks_in_time_and_not_for_ever(
    top_up: MidCallTopUp, agent: FakeAgent
) -> None:
    """Granted credit that others take first is asked for again, with a pause, within one bound."""
    agent.says = lambda: "granted"

    def again(why: CallOutcome | None) -> None:
        assert why is None
        if not top_up.is_late:
            top_up.ask(10, 10, again)

    top_up.ask(10, 10, again)
    agent.run()
    assert agent.now == pytest.approx(1000 + limits.stream_wait_seconds_max)
    assert len(agent.asked) <= limits.stream_wait_seconds_max / AGAIN + 2
    top_up.rest()
    assert not top_up.is_late
    top_up.ask(10, 10, agent.heard.append)
    agent.run()
    assert agent.heard == [None]


def test_nothing_is_drawn_for_a_permit_that_nobody_vouches_for(
    top_up: MidCallTopUp, agent: FakeAgent, permit: FakePermit
) -> None:
    """It could not take it: the call waits as for an agent that is away, and is told why."""
    permit.is_current = False
    top_up.ask(3, 10, agent.heard.append)
    assert top_up.asking
    agent.run()
    assert agent.asked == []
    assert agent.heard == [CallOutcome.UNVOUCHED]
    assert agent.now == pytest.approx(1000 + limits.stream_wait_seconds_max)
    assert agent.pauses < 40


def test_a_permit_that_is_vouched_for_again_in_time_is_paid_for(
    top_up: MidCallTopUp, agent: FakeAgent, permit: FakePermit
) -> None:
    """A partition that heals in a second cuts no stream."""
    agent.says = lambda: "granted"
    permit.is_current = False

    def heal() -> None:
        permit.is_current = True

    agent.later(1, heal)
    top_up.ask(3, 10, agent.heard.append)
    agent.run()
    assert agent.heard == [None]
    assert [need for _, need in agent.asked] in ([10], [3])
    assert 1001 <= agent.now < 1001 + 2 * SLOWEST


def test_a_wait_that_began_for_credit_ends_for_lack_of_it(
    top_up: MidCallTopUp, agent: FakeAgent, permit: FakePermit
) -> None:
    """An agent that is stopped leaves the table stale as well, but what came first is said."""

    def stopped() -> str:
        permit.is_current = agent.now < 1004
        return ""

    agent.says = stopped
    top_up.ask(10, 10, agent.heard.append)
    agent.run()
    assert not permit.is_current
    assert agent.heard == [CallOutcome.UNFUNDED]


def test_an_ended_call_asks_and_hears_nothing_more(
    top_up: MidCallTopUp, agent: FakeAgent, permit: FakePermit
) -> None:
    """Neither while it pauses nor when an answer is on its way."""
    top_up.ask(10, 10, agent.heard.append)
    (_, answer) = agent._later.pop()
    answer()
    assert top_up.asking
    top_up.stop()
    assert not agent._later
    other = MidCallTopUp(agent, permit, lambda: agent.now)  # type: ignore[arg-type]
    other.ask(10, 10, agent.heard.append)
    other.stop()
    agent.run()
    assert agent.heard == []
    assert len(agent.asked) == 2
