"""LangGraph: which branch each node of a graph has, in threads and in an event loop."""

import asyncio
import operator
from typing import Annotated, Any, TypedDict

import pytest
from issuer_world import FakeGateway

from crewgate.errors import IssuerError
from crewgate.integrations import BranchSpawner
from crewgate.issuer import SubAgent

pytest.importorskip("langgraph", reason="langgraph is not installed")
from langgraph.graph import START, StateGraph

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
