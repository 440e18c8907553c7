"""The OpenAI Agents SDK: which branch each agent of a run has, and when the branch ends."""

import asyncio
from collections.abc import AsyncIterator
from importlib import import_module
from typing import Any

import pytest
from issuer_world import FakeGateway

from crewgate.integrations import BranchSpawner
from crewgate.issuer import SubAgent

agents = pytest.importorskip("agents", reason="openai-agents is not installed")
testing = pytest.importorskip("agents.testing", reason="this openai-agents has no scripted model")
from crewgate.integrations.openai_agents import BranchMCPServer, agent_branches  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:agents")


@pytest.fixture(autouse=True)
def _no_tracing() -> None:
    agents.set_tracing_disabled(True)


class Crew:
    """Agents that note, with the tool `note`, the branches as which they run."""

    def __init__(self, run: SubAgent, *script: list[Any]) -> None:
        self.spawner = BranchSpawner(run, credits="1")
        self.model = testing.ScriptedModel(list(script))
        self.notes: list[tuple[str, str]] = []

    def agent(self, name: str, **options: Any) -> Any:
        def note() -> str:
            branch = self.spawner.current
            self.notes.append((name, branch.agent.branch))
            return branch.role

        tool = agents.function_tool(note, name_override="note", description_override="Notes.")
        tools = [tool, *options.pop("tools", [])]
        return agents.Agent(name=name, model=self.model, tools=tools, **options)


def call(name: str, number: str = "1", **arguments: str) -> Any:
    return testing.function_call(name, arguments, call_id=number)


def say(text: str) -> list[Any]:
    return [testing.assistant_message(text)]


def test_an_agent_that_takes_over_has_a_branch_below_the_run(
    run: SubAgent, gateway: FakeGateway
) -> None:
    """The first agent runs as the run; one that gets the control back keeps its branch."""
    crew = Crew(
        run,
        [call("note", "1")],
        [call("transfer_to_writer", "2")],
        [call("note", "3")],
        [call("transfer_to_lead", "4")],
        [call("note", "5")],
        [call("transfer_to_writer", "6")],
        [call("note", "7")],
        say("done"),
    )
    writer = crew.agent("writer")
    lead = crew.agent("lead", handoffs=[writer])
    writer.handoffs = [lead]
    started: list[str] = []

    class Hooks(agents.RunHooks):  # type: ignore[misc,name-defined]
        async def on_agent_start(self, context: Any, agent: Any) -> None:
            started.append(agent.name)

    with agent_branches(crew.spawner):
        result = asyncio.run(agents.Runner.run(lead, "Begin.", hooks=Hooks()))
    assert result.final_output == "done"
    branches = [branch for _, branch in crew.notes]
    assert [name for name, _ in crew.notes] == ["lead", "writer", "lead", "writer"]
    assert branches[0] == branches[2] == run.branch
    assert branches[1] == branches[3] != run.branch
    assert gateway.revoked == [branches[1]]
    assert started == ["lead", "writer", "lead", "writer"]


@pytest.mark.parametrize("mode", ["run", "run_sync", "run_streamed"])
def test_agents_that_run_as_tools_at_once_have_a_branch_each(
    run: SubAgent, gateway: FakeGateway, mode: str
) -> None:
    """Also two of the same agent; the lead is the run meanwhile, and afterwards."""
    crew = Crew(
        run,
        [call("ask", "1", input="a"), call("ask", "2", input="b")],
        [call("note", "3")],
        [call("note", "4")],
        say("a"),
        say("b"),
        [call("note", "5")],
        say("done"),
    )
    helper = crew.agent("helper")
    events: list[Any] = []
    options = {"on_stream": events.append} if mode == "run_streamed" else {}
    ask = helper.as_tool("ask", "Asks.", **options)
    lead = crew.agent("lead", tools=[ask])

    async def consume(stream: AsyncIterator[Any]) -> None:
        async for _ in stream:
            pass

    async def play() -> None:
        if mode == "run":
            await agents.Runner.run(lead, "Begin.")
        else:
            await consume(agents.Runner.run_streamed(lead, "Begin.").stream_events())

    with agent_branches(crew.spawner):
        if mode == "run_sync":
            loop = asyncio.new_event_loop()  # the SDK leaves open what it makes itself
            asyncio.set_event_loop(loop)
            agents.Runner.run_sync(lead, "Begin.")
            asyncio.set_event_loop(None)
            loop.close()
        else:
            asyncio.run(play())
    *helpers, last = crew.notes
    assert [name for name, _ in helpers] == ["helper", "helper"]
    assert last == ("lead", run.branch)
    assert len({branch for _, branch in helpers} - {run.branch}) == 2
    assert sorted(gateway.revoked) == sorted(branch for _, branch in helpers)
    assert bool(events) == (mode == "run_streamed")


def test_the_runner_of_the_sdk_is_back_after_the_block(run: SubAgent, gateway: FakeGateway) -> None:
    """Then no agent has a branch."""
    crew = Crew(run, [call("note")], say("done"))
    with agent_branches(crew.spawner):
        pass
    asyncio.run(agents.Runner.run(crew.agent("lead"), "Begin."))
    assert crew.notes == []


def test_the_model_reads_why_a_call_failed(run: SubAgent) -> None:
    """By itself, the SDK asks the model to try again, and does not say why."""
    crew = Crew(run, [call("note", "1"), call("count", "2")], say("done"))
    tool = import_module("mcp.types").Tool(name="count", input_schema={"type": "object"})

    class Server(BranchMCPServer):
        async def list_tools(self, *_: Any) -> Any:
            return [tool]

    async def play() -> str:
        async with Server(crew.spawner, "http://127.0.0.1:9/mcp") as server:
            lead = crew.agent("lead", mcp_servers=[server])
            return str((await agents.Runner.run(lead, "Begin.")).to_input_list())

    with agent_branches(crew.spawner):
        assert "cannot reach the gateway" in asyncio.run(play())
