"""Requests about pinned tools: pages, definitions, and approvals that wait for the disk."""

import msgspec
import pytest
import trio
from agent_world import Start
from pin_world import BLOCK, tool

from crewgate import limits
from crewgate.agent.ipc_server import pin_admin
from crewgate.agent.state import AgentState
from crewgate.core.mcp.pins.tool_definitions import read_tool
from crewgate.errors import ServiceRefusedError
from crewgate.ipc.attach_messages import VERSION, Attach, ReportDefinitions, pack
from crewgate.ipc.pin_messages import (
    ApprovePins,
    Definitions,
    ForgetPins,
    GetDefinitions,
    GetPins,
    PinRequest,
    PinsPage,
    PinsUpdated,
)


class Connection:
    """Keeps what is sent; each message must fit a frame."""

    def __init__(self) -> None:
        self.sent: list[msgspec.Struct] = []

    async def send(self, *messages: msgspec.Struct) -> None:
        for message in messages:
            pack(message)
        self.sent += messages


@pytest.fixture
def agent(start: Start) -> AgentState:
    """An agent to which a worker has reported 100 tools, two of which have changed."""
    agent = start()
    agent.tool_pins.load({"files": BLOCK})
    process, _ = agent.enter(Attach(version=VERSION, worker=0, takes_pins=True))
    first = [tool(f"t{number:02}") for number in range(100)]
    for number, tools in enumerate((first, [tool("t07", 2), tool("t08", 2)])):
        seen = [each for each in map(read_tool, tools) if each is not None]
        agent.tool_pins.report(process, ReportDefinitions(number, "files", seen))
    return agent


async def ask(agent: AgentState, request: PinRequest) -> list[msgspec.Struct]:
    """The answers to a request."""
    connection = Connection()
    await pin_admin.answer(agent, connection, request)  # type: ignore[arg-type]
    return connection.sent


async def test_pins_come_in_pages_sorted_by_name(agent: AgentState) -> None:
    """Of one endpoint, or of all; each page fits a frame."""
    for request in (GetPins(1), GetPins(1, "files")):
        pages = await ask(agent, request)
        assert all(isinstance(page, PinsPage) for page in pages)
        assert [page.last for page in pages] == [False, True]  # type: ignore[attr-defined]
        names = [row.name for page in pages for row in page.rows]  # type: ignore[attr-defined]
        assert names == [f"t{number:02}" for number in range(100)]
    with pytest.raises(ServiceRefusedError, match="no MCP endpoint 'notes'"):
        await ask(agent, GetPins(1, "notes"))


async def test_both_definitions_of_a_changed_tool_are_shown(agent: AgentState) -> None:
    """Of a pinned tool both are the same."""
    (changed,) = await ask(agent, GetDefinitions(1, "files", "t07"))
    assert isinstance(changed, Definitions)
    assert (b"Version 1" in (changed.pinned or b""), b"Version 2" in (changed.newest or b"")) == (
        True,
        True,
    )
    (pinned,) = await ask(agent, GetDefinitions(1, "files", "t01"))
    assert isinstance(pinned, Definitions)
    assert pinned.pinned == pinned.newest


async def test_an_approval_that_the_disk_has_not_taken_is_in_force(
    agent: AgentState, autojump_clock: trio.testing.MockClock
) -> None:
    """The answer says that a restart would lose it."""
    with pytest.raises(ServiceRefusedError, match="lost if the agent restarts: the disk is busy"):
        await ask(agent, ApprovePins(1, "files", ["t07"]))
    assert trio.current_time() >= limits.mcp_pins_saved_seconds_max
    assert not agent.tool_pins.pin("files", "t07").changed


async def test_an_approval_is_answered_when_the_disk_has_it(agent: AgentState) -> None:
    """The answer says how many pins changed."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(agent.tool_pins.writer.run)
        (done,) = await ask(agent, ApprovePins(1, "files", [], every=True))
        assert done == PinsUpdated(1, 2)
        (done,) = await ask(agent, ForgetPins(1, "files", ["t01", "t02"]))
        assert done == PinsUpdated(1, 2)
        nursery.cancel_scope.cancel()
    with pytest.raises(ServiceRefusedError, match="name one"):
        await ask(agent, ApprovePins(1, "files", ["t07", "t08"], digest="ab"))
