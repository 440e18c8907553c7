"""When credit is asked for again, and when it is given up; the clock is the test's."""

from collections.abc import Callable
from itertools import pairwise

import pytest
from gateway_world import FakePermit, drawn, grant_of

from crewgate import limits
from crewgate.core.audit.records import CallOutcome
from crewgate.core.problem_types import Reason
from crewgate.core.tokens.grant import Grant
from crewgate.core.verdict import Denial
from crewgate.gateway.call.authorizer import DrawCallback
from crewgate.gateway.call.mid_call_top_up import MidCallTopUp

AGAIN = limits.stream_again_seconds_min
SLOWEST = limits.stream_again_seconds_max


class Tower:
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
def tower() -> Tower:
    return Tower()


@pytest.fixture
def permit() -> FakePermit:
    return FakePermit(grant_of(), 0)


@pytest.fixture
def funding(tower: Tower, permit: FakePermit) -> MidCallTopUp:
    return MidCallTopUp(tower, permit, lambda: tower.now)  # type: ignore[arg-type]


@pytest.mark.parametrize("status", ["", "contended", "share", "full", "held"])
def test_an_early_answer_is_asked_about_again_after_a_pause(
    funding: MidCallTopUp, tower: Tower, status: str
) -> None:
    """For as long as is promised, however soon the answers come: not so often, then less often."""
    tower.says = lambda: status
    funding.ask(10, 10, tower.heard.append)
    tower.run()
    assert tower.heard == [CallOutcome.UNFUNDED]
    times = [when for when, _ in tower.asked]
    gaps = [after - before for before, after in pairwise(times)]
    assert gaps[:4] == pytest.approx([AGAIN, 2 * AGAIN, 4 * AGAIN, 8 * AGAIN])
    assert max(gaps) == pytest.approx(SLOWEST)
    assert times[-1] == pytest.approx(limits.stream_wait_seconds_max)
    assert len(times) < 30


def test_an_agent_that_comes_back_in_time_is_in_time(funding: MidCallTopUp, tower: Tower) -> None:
    """A restart takes a second or two."""
    tower.says = lambda: "granted" if tower.now > 1002 else ""
    funding.ask(10, 10, tower.heard.append)
    assert funding.asking
    tower.run()
    assert tower.heard == [None]
    assert not funding.asking
    assert tower.now < 1002 + 2 * SLOWEST


def test_a_late_answer_is_asked_about_again_at_once(funding: MidCallTopUp, tower: Tower) -> None:
    """The agent had its time to find credit."""
    tower.says, tower.takes = lambda: "contended", limits.credit_wait_seconds
    funding.ask(10, 10, tower.heard.append)
    tower.run()
    assert tower.pauses <= 1  # the last one, which time cuts short
    assert tower.heard == [CallOutcome.UNFUNDED]


def test_near_the_last_credit_what_is_missing_is_asked_for(
    funding: MidCallTopUp, tower: Tower
) -> None:
    """A whole step that is not to be had is no reason to wait."""
    answers = iter(["exhausted", "granted"])
    tower.says = lambda: next(answers)
    funding.ask(3, 10, tower.heard.append)
    tower.run()
    assert tower.asked == [(0, 10), (0, 3)]
    assert tower.heard == [None]


@pytest.mark.parametrize("status", ["exhausted", "mismatch"])
def test_what_stays_so_is_not_asked_about_again(
    funding: MidCallTopUp, tower: Tower, status: str
) -> None:
    """The call ends with what it had."""
    tower.says = lambda: status
    funding.ask(10, 10, tower.heard.append)
    tower.run()
    assert tower.heard == [CallOutcome.EXHAUSTED]
    assert len(tower.asked) == 1


def test_a_draw_for_a_closed_branch_ends_the_call_as_revoked(
    funding: MidCallTopUp, tower: Tower
) -> None:
    """It, or a branch above it, was revoked: no credit is missing, and less is not drawn."""
    tower.says = lambda: "closed"
    funding.ask(3, 10, tower.heard.append)
    tower.run()
    assert tower.heard == [CallOutcome.REVOKED]
    assert tower.asked == [(0, 10)]
    assert funding.denial is None


def test_what_the_ledger_said_last_is_kept(funding: MidCallTopUp, tower: Tower) -> None:
    """For whoever has to be told why: of the question about what was missing, not of the step."""
    last = drawn("exhausted", level="article", used=7, quota=9)
    answers = iter([drawn("exhausted", used=1), last])
    tower.draw = lambda grant, need, done: done(next(answers))  # type: ignore[method-assign]
    assert funding.denial is None
    funding.ask(3, 10, tower.heard.append)
    assert funding.denial == Denial(
        Reason.CREDITS_EXHAUSTED,
        grant_of(),
        level="article",
        used_micro=7,
        quota_micro=9,
        need_micro=3,
    )


def test_who_is_served_after_others_asks_in_time_and_not_for_ever(
    funding: MidCallTopUp, tower: Tower
) -> None:
    """Granted credit that others take first is asked for again, with a pause, within one bound."""
    tower.says = lambda: "granted"

    def again(why: CallOutcome | None) -> None:
        assert why is None
        if not funding.is_late:
            funding.ask(10, 10, again)

    funding.ask(10, 10, again)
    tower.run()
    assert tower.now == pytest.approx(1000 + limits.stream_wait_seconds_max)
    assert len(tower.asked) <= limits.stream_wait_seconds_max / AGAIN + 2
    funding.rest()
    assert not funding.is_late
    funding.ask(10, 10, tower.heard.append)
    tower.run()
    assert tower.heard == [None]


def test_nothing_is_drawn_for_a_permit_that_nobody_vouches_for(
    funding: MidCallTopUp, tower: Tower, permit: FakePermit
) -> None:
    """It could not take it: the call waits as for an agent that is away, and is told why."""
    permit.is_current = False
    funding.ask(3, 10, tower.heard.append)
    assert funding.asking
    tower.run()
    assert tower.asked == []
    assert tower.heard == [CallOutcome.UNVOUCHED]
    assert tower.now == pytest.approx(1000 + limits.stream_wait_seconds_max)
    assert tower.pauses < 40


def test_a_permit_that_is_vouched_for_again_in_time_is_paid_for(
    funding: MidCallTopUp, tower: Tower, permit: FakePermit
) -> None:
    """A partition that heals in a second cuts no stream."""
    tower.says = lambda: "granted"
    permit.is_current = False

    def heal() -> None:
        permit.is_current = True

    tower.later(1, heal)
    funding.ask(3, 10, tower.heard.append)
    tower.run()
    assert tower.heard == [None]
    assert [need for _, need in tower.asked] in ([10], [3])
    assert 1001 <= tower.now < 1001 + 2 * SLOWEST


def test_a_wait_that_began_for_credit_ends_for_lack_of_it(
    funding: MidCallTopUp, tower: Tower, permit: FakePermit
) -> None:
    """An agent that is stopped leaves the table stale as well, but what came first is said."""

    def stopped() -> str:
        permit.is_current = tower.now < 1004
        return ""

    tower.says = stopped
    funding.ask(10, 10, tower.heard.append)
    tower.run()
    assert not permit.is_current
    assert tower.heard == [CallOutcome.UNFUNDED]


def test_an_ended_call_asks_and_hears_nothing_more(
    funding: MidCallTopUp, tower: Tower, permit: FakePermit
) -> None:
    """Neither while it pauses nor when an answer is on its way."""
    funding.ask(10, 10, tower.heard.append)
    (_, answer) = tower._later.pop()
    answer()
    assert funding.asking
    funding.stop()
    assert not tower._later
    other = MidCallTopUp(tower, permit, lambda: tower.now)  # type: ignore[arg-type]
    other.ask(10, 10, tower.heard.append)
    other.stop()
    tower.run()
    assert tower.heard == []
    assert len(tower.asked) == 2
