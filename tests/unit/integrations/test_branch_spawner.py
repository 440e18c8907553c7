"""Branches of sub-agents: spawned with the first call, known to threads and tasks, revoked once."""

import asyncio
import contextvars
import logging
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import trio
from issuer_world import FakeGateway

from crewgate.errors import IssuerError, ScopeError, ServiceConnectionError
from crewgate.integrations import BranchSpawner, RoleAllowance, SubAgentBranch
from crewgate.issuer import SubAgent, inspect_token
from crewgate.issuer.httpx_auth import NoTokenError, TokenAuth


def holder(token: str) -> str:
    """The branch that a token names."""
    return inspect_token(token).claims.execution_branch_id


def test_a_branch_is_spawned_with_the_first_call(run: SubAgent) -> None:
    """A sub-agent that calls nothing costs no grant, and no place among the revocations."""
    with (
        BranchSpawner(run, credits="2.50") as spawner,
        spawner.branch("Head of Research") as branch,
    ):
        assert not branch.is_spawned
        assert not branch.has_fresh_token()
        claims = inspect_token(spawner.token()).claims
        assert branch.is_spawned
        assert branch.has_fresh_token()
    assert claims.agent_role == "Head-of-Research"
    assert [element.id for element in claims.branch_path] == [run.branch]
    assert claims.credit_quota == 2_500_000
    assert claims.allowed_tools == ["search.*", "embeddings.create"]


def test_each_role_has_its_allowance_and_none_more_than_its_parent(run: SubAgent) -> None:
    """The credits of a sub-agent are cut to those of its parent; other tools are an error."""
    roles = {
        "reader": RoleAllowance(credits="0.50", tools=["search.web"]),
        "rich": RoleAllowance(credits="99"),
        "writer": RoleAllowance(credits="0.10", tools=["embeddings.create"]),
    }
    spawner = BranchSpawner(run, credits="1", tools=["search.*"], roles=roles)
    assert spawner.branch("rich").agent.claims.credit_quota == 10_000_000
    with spawner.branch("reader"):
        assert spawner.current.agent.claims.allowed_tools == ["search.web"]
        with spawner.branch("rich"):
            claims = spawner.current.agent.claims
            assert (claims.credit_quota, claims.allowed_tools) == (500_000, ["search.web"])
        with spawner.branch("writer"), pytest.raises(ScopeError, match="outside the parent's"):
            spawner.token()


def test_what_cannot_be_spawned_calls_nothing(run: SubAgent) -> None:
    """No request presents the token of the parent in the place of the missing one."""
    spawner = BranchSpawner(run, credits="1", tools=["finance.pay"])
    transport = httpx.MockTransport(lambda _: pytest.fail("a request was sent"))
    with (
        httpx.Client(auth=TokenAuth(spawner), transport=transport) as client,
        spawner.branch("payer"),
        pytest.raises(NoTokenError, match=r"'finance\.pay' is outside"),
    ):
        client.get("https://gateway.example/pay")


def test_threads_and_tasks_of_a_sub_agent_present_its_token(run: SubAgent) -> None:
    """If they copy the context; a thread that does not has no token at all."""
    spawner = BranchSpawner(run, credits="1")

    async def sub_agent(role: str) -> tuple[str, str, str]:
        async with spawner.branch(role) as branch:
            own = await asyncio.create_task(asyncio.sleep(0, branch.agent.branch))
            task = asyncio.create_task(asyncio.to_thread(spawner.token))
            with ThreadPoolExecutor(1) as pool:
                copied = pool.submit(contextvars.copy_context().run, spawner.token).result()
                with pytest.raises(IssuerError, match="no sub-agent runs here"):
                    pool.submit(spawner.token).result()
            return own, holder(await task), holder(copied)

    async def both() -> list[tuple[str, str, str]]:
        return await asyncio.gather(sub_agent("one"), sub_agent("two"))

    one, two = asyncio.run(both())
    assert len(set(one)) == len(set(two)) == 1
    assert one[0] != two[0]
    with pytest.raises(IssuerError, match="no sub-agent runs here"):
        spawner.token()


def test_sub_agents_of_a_sub_agent_are_below_it(run: SubAgent) -> None:
    """Also across another spawner in between, whose own branches it does not use."""
    spawner, other = BranchSpawner(run, credits="1"), BranchSpawner(run, credits="1")
    with spawner.branch("lead") as lead, other.branch("guest"):
        assert spawner.current is lead
        assert spawner.branch("helper").parent is lead
        assert other.current.role == "guest"
        assert other.current.parent is other.root
        with spawner.branch("helper") as helper:
            path = [element.id for element in helper.agent.claims.branch_path]
            assert path == [run.branch, lead.agent.branch]


def test_a_branch_is_revoked_once_when_its_sub_agent_ends(
    run: SubAgent, gateway: FakeGateway
) -> None:
    """Not one that was never spawned, nor one that was revoked with its parent; never the run."""
    with BranchSpawner(run, credits="1") as spawner:
        ended: list[SubAgent] = []
        spawner.before_end(ended.append)
        spawner.before_end(lambda _: pytest.fail("taken back"))()
        with spawner.branch("idle"):
            pass
        with spawner.branch("lead") as lead:
            helper = spawner.branch("helper")
            helper.token()
        helper.end()
        late = spawner.branch("late")
        left = late.agent
        spawner.root.end()
    assert gateway.revoked == [ended[0].branch, left.branch]
    assert [agent.role for agent in ended] == ["lead", "helper", "late"]
    assert run.token()
    with pytest.raises(IssuerError, match="BranchSpawner was closed"):
        spawner.branch("next").token()
    for branch in (lead, helper):
        with pytest.raises(IssuerError, match="has ended, so it gets no token"):
            branch.token()
        assert branch.has_fresh_token()


def test_a_revocation_that_failed_is_tried_again(
    run: SubAgent, gateway: FakeGateway, caplog: pytest.LogCaptureFixture
) -> None:
    """The branch gets no token meanwhile, and the log says until when the last one is valid."""
    gateway.failures = [ServiceConnectionError("gateway down")]
    spawner = BranchSpawner(run, credits="1")
    with caplog.at_level(logging.WARNING), spawner.branch("one") as one:
        first = one.agent
    assert "its last token stays valid until it expires" in caplog.text
    assert gateway.revoked == [first.branch]
    with spawner.branch("two") as two:
        second = two.agent
    assert gateway.revoked == [first.branch, second.branch, first.branch]
    spawner.close()
    assert len(gateway.revoked) == 3


async def test_a_cancelled_sub_agent_ends_too(run: SubAgent, gateway: FakeGateway) -> None:
    """The end waits for the gateway in a thread, although its task is cancelled."""
    spawner = BranchSpawner(run, credits="1")
    branches: list[SubAgentBranch] = []
    with trio.CancelScope() as scope:
        async with spawner.branch("worker") as branch:
            branches.append(branch)
            await trio.to_thread.run_sync(spawner.token)
            scope.cancel()
            await trio.sleep_forever()
    assert len(gateway.revoked) == 1
    with pytest.raises(IssuerError, match="has ended"):
        branches[0].token()


def test_bad_allowances_are_refused_at_once(run: SubAgent) -> None:
    """And not when the first sub-agent calls."""
    with pytest.raises(IssuerError, match="credits"):
        BranchSpawner(run, credits="much")
    with pytest.raises(IssuerError, match="tools must be a list"):
        BranchSpawner(run, credits="1", roles={"a": RoleAllowance(credits="1", tools="search.*")})
