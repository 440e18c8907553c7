"""Credit at the gate: who may still pay, which account is empty, and what a draw would change."""

import pytest
from crew_world import BRANCH, CREW, PARENT, ROOT, World
from gate_world import GEOMETRY, Gatehouse

from crewgate._native.permit import Permit
from crewgate._native.records import TableCapacities
from crewgate.core.reasons import Reason
from crewgate.core.verdict import Denial
from crewgate.errors import AlreadySettledError
from crewgate.leases.lease_client import DrawResult

SEARCH, EMBED, PING = range(3)
SIBLING = "0199c1d2-0000-7000-8000-0000000000aa"


@pytest.fixture
def house() -> Gatehouse:
    return Gatehouse(World.make())


def test_an_unknown_branch_asks_for_a_draw(house: Gatehouse) -> None:
    """Also for a tool that costs nothing: the branch has to be known to be seen in the tree."""
    for tool in (SEARCH, PING):
        verdict = house.gate.decide(house.world.token, tool)
        assert isinstance(verdict, Denial)
        assert (verdict.reason, verdict.retry) == (Reason.BUDGET_UNAVAILABLE, True)
        assert verdict.grant is not None
    assert house.draw(verdict.grant, 0) is DrawResult.GRANTED
    house.permit(house.world.token, PING).settle()
    assert not isinstance(house.gate.decide(house.world.token, SEARCH), Permit)


def test_a_branch_is_stopped_at_its_quota(house: Gatehouse) -> None:
    """Two calls of 10 fit in 25; the third is told which account, how much of how much."""
    token = house.world.mint(credit_quota=25)
    for _ in range(2):
        house.permit(token).settle()
    denial = house.denial(token)
    assert (denial.reason, denial.retry) == (Reason.CREDITS_EXHAUSTED, False)
    assert (denial.level, denial.used_micro, denial.quota_micro) == (BRANCH, 20, 25)
    house.permit(token, EMBED).settle()
    assert house.denial(token, EMBED).used_micro == 25
    house.permit(token, PING).settle()


@pytest.mark.parametrize("level", [ROOT, PARENT])
def test_an_ancestor_that_is_empty_is_named(house: Gatehouse, level: str) -> None:
    """Its other children's spending counts; their cousins under another parent go on."""
    world = house.world
    quotas = {ROOT: 10_000, PARENT: 5_000, level: 10}
    path = [
        {"id": branch, "credit_quota": quotas[branch], "iat": world.now}
        for branch in (ROOT, PARENT)
    ]
    house.permit(world.mint(execution_branch_id=SIBLING, branch_path=path)).settle()
    denial = house.denial(world.mint(branch_path=path))
    assert (denial.reason, denial.level) == (Reason.CREDITS_EXHAUSTED, level)
    assert (denial.used_micro, denial.quota_micro) == (10, 10)
    assert house.reason(world.mint(execution_branch_id=BRANCH[:-1] + "9", branch_path=[])) is None


def test_a_crew_that_is_empty_is_named() -> None:
    """The crew is the topmost ancestor of every branch; the next hour is a new one."""
    house = Gatehouse(World.make(hourly_max=10))
    house.permit(house.world.token).settle()
    denial = house.denial(house.world.mint(execution_branch_id=SIBLING))
    assert (denial.reason, denial.level) == (Reason.CREDITS_EXHAUSTED, CREW)
    assert (denial.used_micro, denial.quota_micro) == (10, 10)


def test_a_refusal_is_inline_until_credit_comes_back(house: Gatehouse) -> None:
    """No draw is asked for while nothing has changed; a release anywhere changes it."""
    token = house.world.mint(credit_quota=10)
    permit = house.permit(token)
    assert house.denial(token).reason is Reason.CREDITS_EXHAUSTED
    verdict = house.gate.decide(token, SEARCH)
    assert isinstance(verdict, Denial)
    assert not verdict.retry
    permit.release()
    again = house.gate.decide(token, SEARCH)
    assert isinstance(again, Permit)
    again.settle()


def test_what_is_refused_for_a_dear_tool_may_pay_a_cheap_one(house: Gatehouse) -> None:
    """What was refused for 10 may still pay 5."""
    token = house.world.mint(credit_quota=15)
    house.permit(token).settle()
    assert house.denial(token, SEARCH).reason is Reason.CREDITS_EXHAUSTED
    house.permit(token, EMBED).settle()
    assert house.record().settled == 15


def test_a_newer_grant_governs_and_an_older_one_does_not(house: Gatehouse) -> None:
    """The grant with the highest iat; the gate asks for a draw until the agent knows it."""
    world = house.world
    small = world.mint(credit_quota=10)
    house.permit(small).settle()
    assert house.denial(small).reason is Reason.CREDITS_EXHAUSTED
    large = world.mint(credit_quota=30, iat=world.now + 1)
    verdict = house.gate.decide(large, SEARCH)
    assert isinstance(verdict, Denial)
    assert verdict.retry
    house.permit(large).settle()
    house.permit(small).settle()
    assert house.denial(small).quota_micro == 30


def test_at_equal_times_the_lower_quota_governs(house: Gatehouse) -> None:
    """Two grants of one second cannot be told apart, so the careful one wins."""
    world = house.world
    house.permit(world.mint(credit_quota=30)).settle()
    lower = world.mint(credit_quota=20)
    house.permit(lower).settle()
    assert house.denial(world.mint(credit_quota=30)).quota_micro == 20


def test_a_quota_of_nothing_pays_nothing(house: Gatehouse) -> None:
    """And free tools stay free."""
    token = house.world.mint(credit_quota=0)
    assert house.denial(token).reason is Reason.CREDITS_EXHAUSTED
    with house.permit(token, PING) as permit:
        assert (permit.price_micro, permit.has_reservation) == (0, True)
    assert house.record().settled == 0


def test_a_free_call_of_a_dead_process_is_found(house: Gatehouse) -> None:
    """It holds no credit, and what is left of it names the request all the same."""
    permit = house.permit(house.world.mint(credit_quota=0), PING, request=b"r" * 16)
    (burned,) = house.table.burn_overdue(2**62)
    assert (burned.request, burned.amount, burned.tool) == (b"r" * 16, 0, PING)
    assert not permit.has_reservation
    assert house.record().burned == 0
    with pytest.raises(AlreadySettledError):
        permit.settle()


def test_an_embedder_s_price_is_settled_in_the_verdict() -> None:
    """Nothing is reserved, so nothing can be burned by a process that ends."""
    house = Gatehouse(World.make(), holds=False)
    permit = house.permit(house.world.token)
    record = house.record()
    assert (permit.has_reservation, record.settled, record.reserved) == (False, 10, 0)
    del permit
    assert house.record().burned == 0


def test_a_process_may_hold_its_share_of_slots_only() -> None:
    """Half of 128; then its calls are told to come back, and other processes still find room."""
    house = Gatehouse(World.make(), geometry=TableCapacities(64, 64, 128, 4))
    house.draw(house.world.grant, 10_000)
    held = [house.permit(house.world.token) for _ in range(64)]
    denial = house.gate.decide(house.world.token, SEARCH)
    assert isinstance(denial, Denial)
    assert (denial.reason, denial.retry) == (Reason.BUDGET_UNAVAILABLE, True)
    held.pop().settle()
    held.append(house.permit(house.world.token))
    for permit in held:
        permit.settle()


# Observe mode: the verdict as always, but only bad credentials and revocations refuse.


@pytest.mark.parametrize("by", ["call", "crew", "tool"])
def test_observed_calls_go_on_with_the_reason(by: str) -> None:
    """Per listener, crew or tool; out of scope and out of credit pass, uncharged."""
    world = World.make(observe=by == "crew")
    if by == "tool":
        tools = tuple(
            type(tool)(tool.name, tool.price, tool.owner, observe=True)
            for tool in world.policy.tools
        )
        world.policy = type(world.policy)(
            world.policy.audience, world.policy.keys, world.policy.crews, tools
        )
    house = Gatehouse(world, geometry=GEOMETRY)
    token = world.mint(allowed_tools=["search.*"], credit_quota=10)
    how = {"observe": by == "call"}
    unopened = house.gate.decide(token, EMBED, **how)  # the agent may refuse to open the branch
    assert isinstance(unopened, Denial)
    assert (unopened.reason, unopened.retry) == (Reason.BUDGET_UNAVAILABLE, True)
    first = house.gate.decide(token, EMBED, drawn=True, **how)
    assert isinstance(first, Permit)
    assert (first.observed_reason, first.price_micro, first.has_reservation) == (
        Reason.BUDGET_UNAVAILABLE,
        0,
        False,
    )
    house.draw(first.grant, 10)
    scoped = house.permit(token, EMBED, **how)
    assert (scoped.observed_reason, scoped.price_micro, scoped.has_reservation) == (
        Reason.TOOL_NOT_ALLOWED,
        0,
        True,
    )
    house.permit(token, **how).settle()
    broke = house.permit(token, **how)
    assert (broke.observed_reason, broke.price_micro) == (Reason.CREDITS_EXHAUSTED, 0)
    assert house.record().settled == 10
    scoped.release()
    broke.settle()
    assert house.record().settled == 10


def test_observed_calls_are_charged_while_there_is_credit(house: Gatehouse) -> None:
    """A week of observing shows what enforcing will cost."""
    permit = house.permit(house.world.token, observe=True)
    assert (permit.observed_reason, permit.price_micro, permit.has_reservation) == (None, 10, True)
    permit.settle()
    assert house.record().settled == 10


def test_what_refuses_after_the_gate_is_noted_in_observe_mode_only(house: Gatehouse) -> None:
    """The first reason stays; outside observe mode the call has to be refused."""
    permit = house.permit(house.world.token, observe=True)
    permit.note_observed(Reason.ARGUMENTS_NOT_ALLOWED)
    permit.note_observed(Reason.TOOL_NOT_ALLOWED)
    assert permit.observed_reason is Reason.ARGUMENTS_NOT_ALLOWED
    enforced = house.permit(house.world.token)
    with pytest.raises(ValueError, match="the call is refused"):
        enforced.note_observed(Reason.ARGUMENTS_NOT_ALLOWED)
    assert enforced.observed_reason is None
    permit.settle()
    enforced.settle()


def test_observing_asks_for_a_draw_first(house: Gatehouse) -> None:
    """Only when a draw was tried does the call go on without credit."""
    verdict = house.gate.decide(house.world.token, SEARCH, observe=True)
    assert isinstance(verdict, Denial)
    assert verdict.retry
    permit = house.gate.decide(house.world.token, SEARCH, observe=True, drawn=True)
    assert isinstance(permit, Permit)
    assert permit.observed_reason is Reason.BUDGET_UNAVAILABLE


def test_observing_refuses_bad_credentials_and_revocations(house: Gatehouse) -> None:
    """Nobody gets in by observing who could not get in before."""
    world = house.world
    house.permit(world.token, observe=True).settle()
    assert house.reason(b"a.b.c", observe=True) is Reason.INVALID_TOKEN
    assert house.reason(world.mint(branch_path=[]), observe=True) is Reason.BINDING_MISMATCH
    assert house.reason(world.token, -1, observe=True) is Reason.UNKNOWN_TOOL
    house.at(2000)
    assert house.reason(world.token, observe=True) is Reason.TOKEN_EXPIRED
