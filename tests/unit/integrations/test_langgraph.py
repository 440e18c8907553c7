"""LangGraph: which branch each node of a graph has, in threads and in an event loop."""

import asyncio
import operator
from typing import Annotated, Any, TypedDict
from uuid import uuid4

import pytest
from issuer_world import FakeGateway

from crewgate.errors import IssuerError
from crewgate.integrations import BranchSpawner, SubAgentBranch
from crewgate.issuer import SubAgent

pytest.importorskip("langgraph", reason="langgraph is not installed")
from langgraph.graph import START, StateGraph
from mcp.types import Tool

from crewgate.integrations import langgraph
from crewgate.integrations.branch_sessions import BranchSessions
from crewgate.integrations.langgraph import BranchCallbackHandler


class State(TypedDict):
    notes: Annotated[list[tuple[str, str]], operator.add]


def note(branches: BranchCallbackHandler, name: str) -> dict[str, list[tuple[str, str]]]:
    return {"notes": [(name, branches.current.agent.branch)]}


def graph(branches: BranchCallbackHandler, name: str, *steps: Any) -> Any:
    """A graph with one node after the other; a text is a node that notes its branch."""
    builder = StateGraph(State)
    before = START
    for number, step in enumerate(steps):
        node = step if not isinstance(step, str) else lambda _, step=step: note(branches, step)
        label = step if isinstance(step, str) else f"{name}-{number}"
        builder.add_node(label, node)
        builder.add_edge(before, label)
        before = label
    return builder.compile(name=name)


@pytest.mark.parametrize("is_async", [False, True])
def test_named_agents_have_branches_below_the_run(
    run: SubAgent, gateway: FakeGateway, is_async: bool
) -> None:
    """A graph below another one, if its name is listed, and all nodes of it; no other node."""
    branches = BranchCallbackHandler(BranchSpawner(run, credits="1"), agents=["worker"])
    worker = graph(branches, "worker", "one", "two")
    lead = graph(branches, "lead", "before", worker, "after", worker)
    options = {"callbacks": [branches]}
    if is_async:
        notes = asyncio.run(lead.ainvoke({"notes": []}, options))["notes"]
    else:
        notes = lead.invoke({"notes": []}, options)["notes"]
    # The graph below gets the notes so far, and adds them to its own.
    found = list(dict.fromkeys(notes))
    assert [name for name, _ in found] == ["before", "one", "two", "after", "one", "two"]
    ids = [branch for _, branch in found]
    assert ids[0] == ids[3] == run.branch
    assert ids[1] == ids[2]
    assert ids[4] == ids[5]
    assert len({ids[0], ids[1], ids[4]}) == 3
    assert gateway.revoked == [ids[1], ids[4]]


def test_the_branch_of_an_agent_that_fails_ends(run: SubAgent, gateway: FakeGateway) -> None:
    """And outside of the graph there is no branch."""
    branches = BranchCallbackHandler(BranchSpawner(run, credits="1"), agents=["worker"])

    def fail(_: State) -> None:
        branches.token()
        raise ValueError("no")

    lead = graph(branches, "lead", graph(branches, "worker", fail))
    with pytest.raises(ValueError, match="no"):
        lead.invoke({"notes": []}, {"callbacks": [branches]})
    assert len(gateway.revoked) == 1
    assert branches.has_fresh_token()
    with pytest.raises(IssuerError, match="no agent runs here"):
        branches.token()
    assert not branches._runs


def test_a_graph_inside_a_sub_agent_runs_as_this_sub_agent(
    run: SubAgent, gateway: FakeGateway
) -> None:
    """A program can start graphs as sub-agents by itself."""
    spawner = BranchSpawner(run, credits="1")
    branches = BranchCallbackHandler(spawner)
    with spawner.branch("outer") as outer:
        options = {"callbacks": [branches]}
        ((_, branch),) = graph(branches, "g", "node").invoke({"notes": []}, options)["notes"]
        assert branch == outer.agent.branch


def test_what_a_retriever_starts_belongs_to_its_agent(run: SubAgent) -> None:
    """And not to the run, whose token allows more."""
    branches = BranchCallbackHandler(BranchSpawner(run, credits="1"), agents=["worker"])
    lead, worker, retriever, chain = (uuid4() for _ in range(4))
    branches.on_chain_start({}, {}, run_id=lead, name="lead")
    branches.on_chain_start({}, {}, run_id=worker, parent_run_id=lead, name="worker")
    branches.on_retriever_start({}, "", run_id=retriever, parent_run_id=worker)
    branches.on_chain_start({}, {}, run_id=chain, parent_run_id=retriever, name="rank")
    assert branches._runs[chain].branch is branches._runs[worker].branch
    assert branches._runs[worker].branch.parent is branches._runs[lead].branch
    branches.on_chain_end({}, run_id=chain)
    branches.on_retriever_end([], run_id=retriever)
    assert set(branches._runs) == {lead, worker}


def test_a_tool_in_an_event_loop_calls_as_its_agent(run: SubAgent) -> None:
    """And the model reads why the call failed."""
    branches = BranchCallbackHandler(BranchSpawner(run, credits="1"), agents=["worker"])
    used: list[str] = []
    made = Tool(name="count", input_schema={"type": "object", "properties": {}})

    def current() -> SubAgentBranch:
        used.append(branches.current.role)
        return branches.current

    async def play() -> str:
        url = "http://127.0.0.1:9/mcp"
        with BranchSessions(branches.spawner, url, current=current) as sessions:
            tool = langgraph._tool(sessions, made)

            async def ask(_: State) -> dict[str, list[tuple[str, str]]]:
                return {"notes": [("count", str(await tool.ainvoke({})))]}

            lead = graph(branches, "lead", graph(branches, "worker", ask))
            return str(await lead.ainvoke({"notes": []}, {"callbacks": [branches]}))

    assert "cannot reach the gateway" in asyncio.run(play())
    assert used == ["worker"]
