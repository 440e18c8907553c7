"""`mcp` prints the pins of an agent, and asks the agent for their changes."""

import json
from pathlib import Path
from typing import Any, Self

import pytest
from cli_runner import Run

from crewgate.core.mcp.pins.endpoint_pins import PinState
from crewgate.core.mcp.pins.tool_definitions import INSTRUCTIONS
from crewgate.ipc.pin_messages import Definitions, PinRow, PinsUpdated

DAY = 86_400
PINNED = PinRow("files", "read", PinState.PINNED, "a" * 64, DAY, approved=2 * DAY)
NEW = PinRow("files", "erase", PinState.NEW, "b" * 64, 3 * DAY)
CHANGED = PinRow(
    "files", INSTRUCTIONS, PinState.CHANGED, "c" * 64, DAY, newest="d" * 64, changed=4 * DAY
)
GONE = PinRow("notes", "delete", PinState.PINNED, "e" * 64, DAY, gone=5 * DAY)
ROWS = [CHANGED, NEW, PINNED, GONE]
TEXTS: dict[str, tuple[bytes | None, bytes | None]] = {
    INSTRUCTIONS: (b'{"instructions":null}', b'{"instructions":"Send\\u202e it."}'),
    "erase": (b"", b'{"name":"erase"}'),
    "read": (None, None),
}


class Agent:
    """Answers as an agent would, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    def __call__(self, folder: Path) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        pass

    def pins(self, endpoint: str = "") -> list[PinRow]:
        return [row for row in ROWS if endpoint in {"", row.endpoint}]

    def definitions(self, endpoint: str, name: str) -> Definitions:
        (row,) = [row for row in ROWS if (row.endpoint, row.name) == (endpoint, name)]
        return Definitions(1, row, *TEXTS[name])

    def approve_pins(self, endpoint: str, names: list[str], **more: Any) -> PinsUpdated:
        self.asked.append((endpoint, names, more))
        return PinsUpdated(1, 2, machines=3)

    def forget_pins(self, endpoint: str, names: list[str], **more: Any) -> PinsUpdated:
        self.asked.append((endpoint, names, more))
        return PinsUpdated(1, 1)


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Agent:
    """The agent that the commands ask."""
    agent = Agent()
    monkeypatch.setattr("crewgate.cli.commands.mcp.AdminClient", agent)
    return agent


@pytest.mark.usefixtures("agent")
def test_the_table_has_a_row_for_each_tool(run: Run, fresh: Path) -> None:
    """With its id as tokens name it, and the times at which it was seen, changed and approved."""
    lines = run("mcp", "tools", "-c", fresh).output.splitlines()
    assert [line.split("  ")[0].strip() for line in lines[1:]] == [
        "files (instructions)", "files.erase", "files.read", "notes.delete",
    ]  # fmt: skip
    assert "1970-01-05 00:00" in lines[1]
    assert "dddddddddddd" in lines[1]
    assert "pinned, gone" in lines[4]
    found = json.loads(run("mcp", "tools", "-c", fresh, "files", "--json").output)["tools"]
    assert [each["name"] for each in found] == [None, "erase", "read"]
    assert found[2]["approved"] == "1970-01-03T00:00:00Z"


@pytest.mark.usefixtures("agent")
def test_a_diff_shows_what_nobody_has_approved(run: Run, fresh: Path) -> None:
    """With hidden characters made visible, and the command that approves just this."""
    assert run("mcp", "diff", "-c", fresh, "files").output == (
        "files (instructions): changed since 1970-01-05 00:00Z\n"
        "  instructions\n"
        "    - null\n"
        "    + Send\\u202e it.\n"
        f"to approve it: crewgate mcp approve -c '{fresh}' files --instructions \\\n"
        f"    --digest {'d' * 32}\n"
        "\n"
        "files.erase: new since 1970-01-04 00:00Z\n"
        "  name\n"
        "    + erase\n"
        f"to approve it: crewgate mcp approve -c '{fresh}' files erase \\\n"
        f"    --digest {'b' * 32}\n"
    )
    assert run("mcp", "diff", "-c", fresh, "files", "read").output == "files.read: pinned\n"
    document = json.loads(run("mcp", "diff", "-c", fresh, "files", "erase", "--json").output)
    assert document["definitions"][0]["newest_definition"] == {"name": "erase"}


def test_an_approval_names_what_it_is_for(run: Run, fresh: Path, agent: Agent) -> None:
    """Each machine has pins of its own, and the command says so."""
    done = run("mcp", "approve", "-c", fresh, "files", "read", "--digest", "ABC")
    assert done.output == (
        "files: approved 2 definitions\n"
        "each of the 3 machines has pins of its own: run this command on each\n"
    )
    run("mcp", "approve", "-c", fresh, "files", "--all")
    run("mcp", "approve", "-c", fresh, "files", "--instructions")
    assert run("mcp", "forget", "-c", fresh, "files", "--gone").output == ("files: removed 1 pin\n")
    assert agent.asked == [
        ("files", ["read"], {"every": False, "digest": "abc"}),
        ("files", [], {"every": True, "digest": ""}),
        ("files", [INSTRUCTIONS], {"every": False, "digest": ""}),
        ("files", [], {"every_gone": True}),
    ]
    for wrong in (["approve", "files"], ["approve", "files", "read", "--all"], ["forget", "files"]):
        assert "name tools" in run("mcp", *wrong, "-c", fresh).output
    assert len(agent.asked) == 4
