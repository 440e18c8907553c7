"""What may change the gate's mind: one draw a branch at a time, and a policy that is loaded."""

import msgspec
import pytest
import trio
from gatehouse import Gatehouse
from world import PARENT, ROOT, World

from crewgate._native.owner import OwnedTable
from crewgate._native.permit import Permit
from crewgate._native.records import Geometry
from crewgate.core.grant import Grant
from crewgate.core.verdict import Denial, Reason
from crewgate.gateway.judge import GateJudge
from crewgate.link.messages import Drawn


class Agent:
    """Answers draws when told to."""

    def __init__(self, status: str = "granted") -> None:
        self.asked: list[tuple[Grant, int]] = []
        self.answer = trio.Event()
        self.status = status

    async def draw(self, grant: Grant, need: int) -> Drawn | None:
        self.asked.append((grant, need))
        await self.answer.wait()
        return Drawn(id=1, status=self.status) if self.status else None


def _judge(agent: Agent) -> tuple[GateJudge, World, OwnedTable]:
    world = World.make()
    table = OwnedTable.private(Geometry(64, 64, 64, 2))
    table.set_policy_generation(world.policy.generation)
    return GateJudge(table, 0, world.policy, agent.draw), world, table


async def _relieve_together(
    judge: GateJudge, denials: list[tuple[Denial, int]], agent: Agent
) -> list:
    answers: list = []

    async def one(denial: Denial, tool: int) -> None:
        answers.append(await judge.relieve(denial, tool))

    async with trio.open_nursery() as nursery:
        for denial, tool in denials:
            nursery.start_soon(one, denial, tool)
        await trio.testing.wait_all_tasks_blocked()
        agent.answer.set()
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


async def test_another_need_is_another_question() -> None:
    """Who waited for a draw that was refused, but needs less, may ask himself."""
    agent = Agent("exhausted")
    judge, world, _ = _judge(agent)
    denial = Denial(Reason.BUDGET_UNAVAILABLE, world.grant, retry=True)
    answers = await _relieve_together(judge, [(denial, 0), (denial, 1)], agent)
    assert answers == [False, True]


async def test_draw_that_was_given_up_speaks_for_nobody() -> None:
    """The client that drew hangs up: whoever waited with it draws anew."""
    agent = Agent()
    judge, world, _ = _judge(agent)
    denial = Denial(Reason.BUDGET_UNAVAILABLE, world.grant, retry=True)
    answers = []
    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        async def first() -> None:
            with scope:
                await judge.relieve(denial, 0)

        async def second() -> None:
            answers.append(await judge.relieve(denial, 0))

        nursery.start_soon(first)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(second)
        await trio.testing.wait_all_tasks_blocked()
        scope.cancel()
    assert answers == [True]
    assert not judge._draws


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
            answers.append(await judge.relieve(verdict, 0))

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        assert not answers
        judge.load(msgspec.structs.replace(world.policy, generation=2))
    assert answers == [True]
    verdict = judge.decide(world.token, 0)
    assert verdict.reason is Reason.BUDGET_UNAVAILABLE


async def test_stale_table_is_not_waited_for() -> None:
    """When only the agent could help, the refusal is said at once."""
    judge, world, table = _judge(Agent())
    table.retire()
    verdict = judge.decide(world.token, 0)
    assert isinstance(verdict, Denial)
    assert verdict.reason is Reason.REVOCATION_UNAVAILABLE
    assert await judge.relieve(verdict, 0) is False


async def test_another_table() -> None:
    """After `move` the judge judges by the new table."""
    judge, world, _ = _judge(Agent())
    grant = world.grant
    fresh = OwnedTable.private(Geometry(64, 64, 64, 2))
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
    judge = GateJudge(house.table, 1, world.policy, Agent().draw)
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
    judge = GateJudge(house.table, 0, house.world.policy, Agent().draw)
    judge._gate = house.gate
    token = house.world.mint(credit_quota=25)
    for _ in range(2):
        house.permit(token).settle()
    assert house.reason(token) is Reason.CREDITS_EXHAUSTED
    verdict = judge.decide(token, 0, price=price)
    assert isinstance(verdict, Denial)
    assert (verdict.left, verdict.need) == (5, need)
