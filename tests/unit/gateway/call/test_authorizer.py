"""What may change the gate's mind: one draw a branch at a time, and a policy that is loaded."""

from collections.abc import Callable

import msgspec
import pytest
import trio
from crew_world import CREW, PARENT, ROOT, World
from gate_world import Gatehouse

from crewgate import limits
from crewgate._native.permit import Permit
from crewgate._native.records import TableCapacities
from crewgate._native.table_owner import OwnedTable
from crewgate.core.reasons import Reason
from crewgate.core.tokens.grant import Grant
from crewgate.core.verdict import Denial, SpentWindow
from crewgate.gateway.call.authorizer import DrawCallback, GateAuthorizer
from crewgate.ipc.attach_messages import CreditDrawn


class Agent:
    """Answers draws when told to."""

    def __init__(self, status: str = "granted") -> None:
        self.asked: list[tuple[Grant, int]] = []
        self.behind: list[int] = []
        self.status = status
        self._unanswered: list[DrawCallback] = []

    def ask(self, grant: Grant, need: int, answered: DrawCallback, *, behind: int = 0) -> None:
        self.asked.append((grant, need))
        self.behind.append(behind)
        self._unanswered.append(answered)

    def answer(self) -> None:
        """All that was asked until now."""
        unanswered, self._unanswered = self._unanswered, []
        for answered in unanswered:
            answered(CreditDrawn(id=1, status=self.status) if self.status else None)


def _judge(agent: Agent) -> tuple[GateAuthorizer, World, OwnedTable]:
    world = World.make()
    table = OwnedTable.private(TableCapacities(64, 64, 64, 2))
    table.set_policy_generation(world.policy.generation)
    return GateAuthorizer(table, 0, world.policy, agent.ask), world, table


async def _relieve_together(
    judge: GateAuthorizer, denials: list[tuple[Denial, int]], agent: Agent
) -> list:
    answers: list = []

    async def one(denial: Denial, tool: int) -> None:
        answers.append(await judge.relieve(denial, tool).wait())

    async with trio.open_nursery() as nursery:
        for denial, tool in denials:
            nursery.start_soon(one, denial, tool)
        await trio.testing.wait_all_tasks_blocked()
        agent.answer()
    return answers


@pytest.mark.parametrize("status", ["granted", "exhausted", ""])
async def test_calls_of_a_branch_share_a_draw(status: str) -> None:
    """Ten calls ask the agent once, for one call's price, and share its answer."""
    agent = Agent(status)
    judge, world, _ = _judge(agent)
    grant = world.grant
    denial = Denial(Reason.BUDGET_UNAVAILABLE, grant, retry=True)
    answers = await _relieve_together(judge, [(denial, 0)] * 10, agent)
    assert agent.asked == [(grant, 10)]
    assert answers == [status == "granted"] * 10


async def test_a_draw_states_what_other_calls_need() -> None:
    """Those of the same turn: the draw leaves at its end. Later ones go into the next draw."""
    agent = Agent()
    world = World.make()
    table = OwnedTable.private(TableCapacities(64, 64, 64, 2))
    table.set_policy_generation(world.policy.generation)
    at_end: list[Callable[[], None]] = []
    judge = GateAuthorizer(table, 0, world.policy, agent.ask, at_end=at_end.append)
    denial = Denial(Reason.BUDGET_UNAVAILABLE, world.grant, retry=True)
    for price in (-1, 40, 50):
        judge.relieve(denial, 0, price)
    assert (len(at_end), agent.asked) == (1, [])
    at_end.pop()()
    judge.relieve(denial, 0, 60)
    agent.answer()
    judge.relieve(denial, 0, 70)
    at_end.pop()()
    assert (agent.asked, agent.behind) == ([(world.grant, 10), (world.grant, 70)], [90, 0])


def test_a_branch_that_is_refused_again_and_again_is_opened() -> None:
    """Only then can rules count its calls; an agent that cannot open it is asked seldom."""
    agent = Agent("exhausted")
    judge, world, _ = _judge(agent)
    asked = []
    for _ in range(limits.rule_open_again_calls + limits.rule_uncounted_max):
        judge.note_uncounted(world.grant)
        asked.append(len(agent.asked))
        agent.answer()
    assert agent.asked == [(world.grant, 0)] * 2
    assert asked.index(1) + 1 == limits.rule_uncounted_max
    assert asked.count(2) == 1


def test_branches_without_a_record_are_remembered_in_bounded_room() -> None:
    judge, world, _ = _judge(Agent())
    for number in range(limits.unopened_branches_max + 9):
        key = number.to_bytes(16, "big")
        judge.note_uncounted(msgspec.structs.replace(world.grant, branch_key=key))
    assert len(judge._uncounted) <= limits.unopened_branches_max


async def test_another_need_is_another_question() -> None:
    """Who waited for a draw that was refused, but needs less, may ask himself."""
    agent = Agent("exhausted")
    judge, world, _ = _judge(agent)
    denial = Denial(Reason.BUDGET_UNAVAILABLE, world.grant, retry=True)
    reliefs = [judge.relieve(denial, tool) for tool in (0, 0, 1)]
    agent.answer()
    assert [await relief.wait() for relief in reliefs] == [False, False, True]
    assert len(agent.asked) == 1


async def test_a_draw_is_begun_before_anybody_waits_for_it() -> None:
    """The client that drew hangs up: whoever came meanwhile has the answer all the same."""
    agent = Agent()
    judge, world, _ = _judge(agent)
    denial = Denial(Reason.BUDGET_UNAVAILABLE, world.grant, retry=True)
    judge.relieve(denial, 0)
    assert agent.asked == [(world.grant, 10)]
    second = judge.relieve(denial, 0)
    agent.answer()
    assert len(agent.asked) == 1
    assert await second.wait() is True
    judge.relieve(denial, 0)
    assert len(agent.asked) == 2


async def test_a_call_under_way_has_a_question_of_its_own() -> None:
    """Whatever else is drawn for its branch, and however long it waits."""
    agent = Agent("exhausted")
    judge, world, _ = _judge(agent)
    judge.relieve(Denial(Reason.BUDGET_UNAVAILABLE, world.grant, retry=True), 0)
    answers = []

    async def draw() -> None:
        answers.append(await judge.draw(world.grant, 70))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(draw)
        await trio.testing.wait_all_tasks_blocked()
        assert agent.asked == [(world.grant, 10), (world.grant, 70)]
        agent.answer()
    assert answers == [CreditDrawn(id=1, status="exhausted")]
    with trio.move_on_after(0):
        await judge.draw(world.grant, 70)
    agent.answer()  # nobody waits any more


async def test_policy_on_its_way_is_waited_for() -> None:
    """Between the agent's new generation and our loading it, a call waits and is judged anew."""
    agent = Agent()
    judge, world, table = _judge(agent)
    table.set_policy_generation(2)
    verdict = judge.decide(world.token, 0)
    assert isinstance(verdict, Denial)
    answers = []
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            answers.append(await judge.relieve(verdict, 0).wait())

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        assert not answers
        judge.load(msgspec.structs.replace(world.policy, generation=2))
    assert answers == [True]
    verdict = judge.decide(world.token, 0)
    assert verdict.reason is Reason.BUDGET_UNAVAILABLE


@pytest.mark.parametrize("how", ["retired", "not synced"])
async def test_stale_table_is_not_waited_for(how: str) -> None:
    """When only the agent could help, the refusal is said at once, and nothing is drawn."""
    agent = Agent()
    judge, world, table = _judge(agent)
    if how == "retired":
        table.retire()
    else:
        table.extend_freshness(2**64 - 1, 0)
    verdict = judge.decide(world.token, 0)
    assert isinstance(verdict, Denial)
    assert verdict.reason is Reason.REVOCATION_UNAVAILABLE
    assert await judge.relieve(verdict, 0).wait() is False
    assert agent.asked == []


async def test_another_table() -> None:
    """After `move` the judge judges by the new table."""
    judge, world, _ = _judge(Agent())
    grant = world.grant
    fresh = OwnedTable.private(TableCapacities(64, 64, 64, 2))
    fresh.set_policy_generation(world.policy.generation)
    judge.move(fresh, 1)
    verdict = judge.decide(world.token, 0)
    assert verdict.reason is Reason.BUDGET_UNAVAILABLE
    assert grant.claims.branch_path[0].id == ROOT
    assert grant.claims.branch_path[1].id == PARENT
    assert not isinstance(verdict, Permit)


def test_calls_of_a_place_that_was_left_must_end() -> None:
    """A permit of a table that the worker no longer judges by is revoked."""
    world = World.make()
    house = Gatehouse(world)
    judge = GateAuthorizer(house.table, 1, world.policy, Agent().ask)
    house.permit(world.token).release()
    permit = judge.decide(world.token, 0)
    assert isinstance(permit, Permit)
    assert not permit.revoked
    judge.move(Gatehouse(world).table, 0)
    assert permit.revoked
    permit.release()


@pytest.mark.parametrize(("price", "need"), [(-1, 10), (70, 70)])
def test_a_refusal_for_credit_says_how_much_was_needed(price: int, need: int) -> None:
    """The tool's price, or the call's own."""
    house = Gatehouse(World.make())
    judge = GateAuthorizer(house.table, 0, house.world.policy, Agent().ask)
    judge.gate = house.gate
    token = house.world.mint(credit_quota=25)
    for _ in range(2):
        house.permit(token).settle()
    assert house.reason(token) is Reason.CREDITS_EXHAUSTED
    verdict = judge.decide(token, 0, price=price)
    assert isinstance(verdict, Denial)
    assert (verdict.left_micro, verdict.need_micro) == (5, need)


@pytest.mark.parametrize("hours", [0, 3])
def test_a_refusal_by_the_crews_hour_says_when_that_ends(hours: int) -> None:
    """By the newest hour that the ledger has seen: a machine whose clock is ahead has spent it."""
    house = Gatehouse(World.make(hourly_max=20))
    hour = house.world.now // 3600
    now = hour * 3600.0 + 60
    judge = GateAuthorizer(house.table, 0, house.world.policy, Agent().ask, lambda: now)
    judge.gate = house.gate
    token = house.world.mint()
    for at in (now + hours * 3600, now + hours * 3600, now):
        verdict = judge.decide(token, 0)
        assert isinstance(verdict, Denial)
        assert verdict.grant is not None
        house.lessor.draw(verdict.grant, 10, at, house.boot_ns)
        verdict = judge.decide(token, 0)
        if isinstance(verdict, Permit):
            verdict.settle()
    assert isinstance(verdict, Denial)
    left = 3540 + 3600 * hours
    assert verdict.window == SpentWindow(3600, (hour + hours + 1) * 3600, left)
    assert (verdict.level, verdict.need_micro) == (CREW, 10)


def test_a_branch_s_own_credits_never_come_back() -> None:
    """Nor does a crew's for a call that needs more than the cap of an hour."""
    house = Gatehouse(World.make(hourly_max=20))
    judge = GateAuthorizer(house.table, 0, house.world.policy, Agent().ask)
    judge.gate = house.gate
    assert house.reason(house.world.mint(credit_quota=5)) is Reason.CREDITS_EXHAUSTED
    verdict = judge.decide(house.world.mint(credit_quota=5), 0)
    assert isinstance(verdict, Denial)
    assert (verdict.window_number, verdict.window) == (0, None)
    spent = Denial(
        Reason.CREDITS_EXHAUSTED, house.world.grant, level=CREW, quota_micro=20, window_number=8
    )
    assert judge.explained(spent).window is not None
    assert judge.explained(msgspec.structs.replace(spent, need_micro=21)).window is None


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("share", Reason.TABLE_FULL),
        ("full", Reason.TABLE_FULL),
        ("held", Reason.ORCHESTRATOR_HELD),
        ("closed", Reason.BRANCH_REVOKED),
        ("mismatch", Reason.BINDING_MISMATCH),
    ],
)
async def test_a_branch_that_is_not_opened_is_told_why(status: str, reason: Reason) -> None:
    """No room, its orchestrator is held, or the ledger knows that its token is not good."""
    agent = Agent(status)
    judge, world, table = _judge(agent)
    table.extend_freshness(2**64 - 1, 2**64 - 1)
    token = world.token
    first = judge.decide(token, 0)
    assert isinstance(first, Denial)
    assert first.reason is Reason.BUDGET_UNAVAILABLE
    judge.relieve(first, 0)
    agent.answer()
    then = judge.decide(token, 0, drawn=True)
    assert isinstance(then, Denial)
    assert (then.reason, then.retry) == (reason, status in {"share", "full", "held"})
    again = judge.decide(token, 0)  # the next call asks the agent again
    assert isinstance(again, Denial)
    assert (again.reason, again.retry) == (Reason.BUDGET_UNAVAILABLE, True)
    agent.status = "contended"
    judge.relieve(again, 0)
    agent.answer()
    later = judge.decide(token, 0, drawn=True)
    assert isinstance(later, Denial)
    assert later.reason is Reason.BUDGET_UNAVAILABLE


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("contended", None),
        ("full", Reason.TABLE_FULL),
        ("share", Reason.TABLE_FULL),
        ("held", Reason.ORCHESTRATOR_HELD),
        ("closed", Reason.BRANCH_REVOKED),
        ("mismatch", Reason.BINDING_MISMATCH),
    ],
)
@pytest.mark.parametrize("allowed", ["search.*", "free.*"])
async def test_observe_mode_passes_a_lack_of_credit_and_no_branch_that_is_not_opened(
    status: str, reason: Reason | None, allowed: str
) -> None:
    """A branch that the draw did not open is refused, whether its token allows the tool or not."""
    agent = Agent(status)
    judge, world, _ = _judge(agent)
    token = world.mint(allowed_tools=[allowed])
    first = judge.decide(token, 0, observe=True)
    assert isinstance(first, Denial)
    judge.relieve(first, 0)
    agent.answer()
    then = judge.decide(token, 0, observe=True, drawn=True)
    if reason is None:
        assert isinstance(then, Permit)
        assert then.observed_reason is Reason.BUDGET_UNAVAILABLE
    else:
        assert isinstance(then, Denial)
        assert (then.reason, then.grant) == (reason, first.grant)
        assert then.retry is (status in {"share", "full", "held"})
