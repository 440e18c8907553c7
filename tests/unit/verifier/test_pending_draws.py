"""Draws on their way to the agent: one a branch, answered to all, never waited for."""

import msgspec
import pytest
from grant_builders import grant

from crewgate import limits
from crewgate.core.tokens.grant import Grant
from crewgate.errors import ServiceConnectionError
from crewgate.ipc.attach_messages import CreditDrawn, DrawStatus, Reload, RequestFailed
from crewgate.leases.branch_opening import DrawResult
from crewgate.verifier import pending_draws as module
from crewgate.verifier.pending_draws import PendingDraws
from crewgate.verifier.waiters import ThreadWaiter


class Agent:
    """An attachment whose agent the test is; full or gone when told so."""

    def __init__(self) -> None:
        self.asked: list[tuple[bytes, int]] = []
        self.full = self.gone = False

    def request_draw(self, of: Grant, need: int) -> int:
        if self.gone:
            raise ServiceConnectionError("the agent closed the connection")
        if self.full:
            return 0
        self.asked.append((of.branch_key, need))
        return len(self.asked)


@pytest.fixture
def agent() -> Agent:
    return Agent()


@pytest.fixture
def draws(agent: Agent) -> PendingDraws:
    return PendingDraws(agent)  # type: ignore[arg-type]


def drawn(number: int, status: DrawStatus = "granted") -> CreditDrawn:
    return CreditDrawn(id=number, status=status)


def rung(waiter: ThreadWaiter) -> bool:
    return waiter._notified.is_set()


def test_calls_of_one_branch_share_one_draw(agent: Agent, draws: PendingDraws) -> None:
    """However many wait, the agent is asked once, and all hear the answer."""
    waiters = [ThreadWaiter() for _ in range(5)]
    assert all(draws.start(grant(1, 100), 10, waiter) for waiter in waiters)
    assert draws.start(grant(1, 100), 10)
    assert len(agent.asked) == 1
    draws.answer([Reload(generation=2), drawn(1)])
    assert [waiter.status for waiter in waiters] == [DrawResult.GRANTED] * 5
    assert draws.start(grant(1, 100), 10)
    assert len(agent.asked) == 2


@pytest.mark.parametrize("status", ["held", "exhausted", "mismatch"])
def test_a_refusal_is_of_the_grant_and_the_amount_that_were_asked_for(
    agent: Agent, draws: PendingDraws, status: DrawStatus
) -> None:
    """Another call of the branch asks again, by itself."""
    waiters = [ThreadWaiter() for _ in range(4)]
    later = msgspec.structs.replace(grant(1, 100), quota=1)
    asked = [(grant(1, 100), 10), (grant(1, 100), 10), (grant(1, 100), 5), (later, 10)]
    for waiter, (of, need) in zip(waiters, asked, strict=True):
        draws.start(of, need, waiter)
    draws.answer([drawn(1, status)])
    own, again = DrawResult(status), DrawResult.GRANTED
    assert [waiter.status for waiter in waiters] == [own, own, again, again]
    draws.start(*asked[3], waiters[3])
    draws.answer([drawn(2, status)])
    assert waiters[3].status is own


def test_branches_do_not_wait_for_each_other(agent: Agent, draws: PendingDraws) -> None:
    """Answers may come in any order."""
    one, two = ThreadWaiter(), ThreadWaiter()
    draws.start(grant(1, 100), 10, one)
    draws.start(grant(2, 100), 10, two)
    draws.answer([drawn(2, "exhausted")])
    assert (rung(one), two.status) == (False, DrawResult.EXHAUSTED)
    draws.answer([RequestFailed(id=1, message="no")])
    assert (rung(one), one.status) == (True, None)


def test_an_answer_to_nobody_is_nothing(draws: PendingDraws) -> None:
    """Late, twice, or invented."""
    draws.answer([drawn(7), drawn(7), RequestFailed(id=0, message="no")])


@pytest.mark.parametrize("how", ["full", "gone"])
def test_what_cannot_be_asked_is_said_at_once(agent: Agent, draws: PendingDraws, how: str) -> None:
    """Nobody waits for an answer that cannot come."""
    setattr(agent, how, True)
    assert not draws.start(grant(1, 100), 10, ThreadWaiter())
    assert not PendingDraws(None).start(grant(1, 100), 10)


def test_the_end_of_the_attachment_wakes_everybody(agent: Agent, draws: PendingDraws) -> None:
    """And nothing more is asked over it."""
    waiter = ThreadWaiter()
    draws.start(grant(1, 100), 10, waiter)
    draws.end()
    assert (rung(waiter), waiter.status) == (True, None)
    assert not draws.start(grant(2, 100), 10)
    assert len(agent.asked) == 1


def test_an_overdue_draw_is_asked_again(
    agent: Agent, draws: PendingDraws, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that was lost holds up nobody for ever; who waited hears the second."""
    clock = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    waiter = ThreadWaiter()
    draws.start(grant(1, 100), 10, waiter)
    clock[0] = limits.ipc_seconds_max + 1
    draws.start(grant(1, 100), 10)
    assert len(agent.asked) == 2
    draws.answer([drawn(1)])
    assert not rung(waiter)
    draws.answer([drawn(2)])
    assert waiter.status is DrawResult.GRANTED


def test_draws_in_flight_are_bounded(agent: Agent, draws: PendingDraws) -> None:
    """As many as the agent takes of one process; one more branch is told to come back."""
    of = grant(1, 100)
    for number in range(limits.ipc_draws_max):
        key = number.to_bytes(16, "big")
        assert draws.start(msgspec.structs.replace(of, branch_key=key), 10)
    assert not draws.start(of, 10)
    draws.answer([drawn(1)])
    assert draws.start(of, 10)


def test_the_last_refusal_of_a_branch_is_remembered(
    agent: Agent, draws: PendingDraws, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until another draw of the branch ends otherwise, and for a bounded number of branches."""
    one, two = grant(1, 100), grant(2, 100)
    assert draws.last_refusal(one.branch_key) is None
    monkeypatch.setattr(limits, "unopened_branches_max", 1)
    for of, status, remembered in (
        (one, "held", DrawResult.HELD),
        (one, "contended", None),
        (one, "closed", DrawResult.CLOSED),
        (two, "granted", None),
    ):
        draws.start(of, 10)
        draws.answer([drawn(len(agent.asked), status)])
        assert draws.last_refusal(of.branch_key) is remembered
    assert draws.last_refusal(one.branch_key) is DrawResult.CLOSED
    draws.start(two, 10)
    draws.answer([drawn(len(agent.asked), "full")])
    assert draws.last_refusal(two.branch_key) is DrawResult.FULL
    assert draws.last_refusal(one.branch_key) is None
