"""Pinned MCP tools over real sockets: a worker's connection, an agent that is killed, commands."""

import json
import os
import signal
from collections.abc import Callable

import trio
from agent_process import Site
from click.testing import CliRunner
from installation import wait_until
from pin_world import tool

from crewgate.cli import main
from crewgate.config import load
from crewgate.core.mcp.pins.tool_definitions import INSTRUCTIONS
from crewgate.core.mcp.pins.worker_pins import WorkerPins
from crewgate.core.reasons import Reason
from crewgate.gateway.worker.agent_connection import AgentConnection
from crewgate.ipc.admin_client import AdminClient
from crewgate.ipc.attach_messages import Attached, RevocationAck, RevocationNotice
from crewgate.ipc.pin_messages import PinRow

ENDPOINT = """
[mcp.files]
path = "/mcp/files"
upstream = "local"
price = "0"
pins = "block"
"""


class Worker:
    """A worker that only takes pins."""

    def __init__(self, site: Site) -> None:
        self.pins = WorkerPins()
        self.connection = AgentConnection(site.state, 0, self, self.pins)

    def attached(self, attached: Attached, table: int) -> None:
        os.close(table)

    def revoked(self, pushed: RevocationNotice) -> RevocationAck:
        return RevocationAck(id=pushed.id, last_cut_ns=0, count=0)

    def reload(self, generation: int) -> None:
        pass

    def see(self, *tools: bytes) -> None:
        """See a list of the server."""
        self.pins.observe("files", tools)


async def until(holds: Callable[[], object]) -> None:
    """Wait until something holds."""
    await trio.to_thread.run_sync(wait_until, holds)


async def rows(site: Site) -> dict[str, PinRow]:
    """The pins that the agent has."""

    def ask() -> dict[str, PinRow]:
        with AdminClient(site.state) as admin:
            return {row.name: row for row in admin.pins("files")}

    return await trio.to_thread.run_sync(ask)


async def run(site: Site, *arguments: str, status: int = 0) -> str:
    """Return the output of a command."""
    command = ["mcp", *arguments, "-c", str(site.file)]
    done = await trio.to_thread.run_sync(CliRunner().invoke, main, command)
    assert done.exit_code == status, done.output
    return str(done.output)


async def change_while_the_agent_dies(site: Site, worker: Worker) -> None:
    """A server changes a tool; the agent is killed before it reads the report of that."""
    agent = site.agent()
    worker.pins.load({"files": load(site.file).mcp[0].pin_policy})
    await until(lambda: worker.pins.refusal_of("files", "read") is None)
    worker.see(tool("read", 1), tool("delete", 1))
    worker.pins.observe_instructions("files", b"{}")
    path = site.state / "mcp_pins" / "files.json"
    await until(lambda: path.exists() and len(json.loads(path.read_text())["pins"]) == 3)
    os.kill(agent.pid, signal.SIGSTOP)
    worker.see(tool("read", 1), tool("delete", 2))
    assert worker.pins.refusal_of("files", "delete") is Reason.TOOL_CHANGED
    agent.kill()
    agent.wait()
    assert "Version 2" not in path.read_text()
    site.agent()
    await until(lambda: "Version 2" in path.read_text())
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


async def approve_what_was_read(site: Site, worker: Worker) -> None:
    """A person reads what changed and approves it, with the command that `diff` prints."""
    listed = await run(site, "tools")
    assert [line.split()[:2] for line in listed.splitlines()[1:]] == [
        ["files", "(instructions)"], ["files.delete", "changed"], ["files.read", "pinned"],
    ]  # fmt: skip
    shown = await run(site, "diff", "files")
    assert shown.splitlines()[1:5] == [
        "  description", "    … Version ", "    - 1.", "    + 2.",
    ]  # fmt: skip
    assert shown.startswith("files.delete: changed since ")
    assert await run(site, "diff", "files", "delete") == shown
    digest = shown.split()[-1]
    assert "no tool 'write'" in await run(site, "approve", "files", "write", status=2)
    await run(site, "approve", "files", "delete", "--digest", "0" * 12, status=2)
    assert worker.pins.refusal_of("files", "delete") is Reason.TOOL_CHANGED
    with AdminClient(site.state) as admin:
        status = admin.status()
    assert [(row.pinned, row.changed) for row in status.pins] == [(2, 1)]
    (trouble,) = [each for each in status.health if each.component == "MCP endpoint files"]
    assert "the tool delete; the gateway refuses calls of changed tools" in trouble.why
    done = await run(site, "approve", "files", "delete", "--digest", digest)
    assert done == "files: approved 1 definition\n"
    await until(lambda: worker.pins.refusal_of("files", "delete") is None)
    assert "no change waits" in await run(site, "diff", "files")
    found = json.loads(await run(site, "tools", "files", "--json"))["tools"]
    assert [(each["tool"], each["state"]) for each in found] == [
        (None, "pinned"), ("files.delete", "pinned"), ("files.read", "pinned"),
    ]  # fmt: skip


async def test_a_change_is_found_shown_and_approved(site: Site) -> None:
    """The change survives a killed agent, and the approval survives another one."""
    site.further = ENDPOINT
    site.write()
    worker = Worker(site)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.connection.run)
        await change_while_the_agent_dies(site, worker)
        await approve_what_was_read(site, worker)
        nursery.cancel_scope.cancel()
    site.end()
    site.agent()
    found = await rows(site)
    assert {name: row.state.value for name, row in found.items()} == {
        INSTRUCTIONS: "pinned", "read": "pinned", "delete": "pinned",
    }  # fmt: skip
    records = [each for each in site.audit() if each["kind"] == "mcp-pin"]
    events = [(each["event"], each["tool"], each.get("by")) for each in records]
    assert set(events) == {
        ("pinned", "read", None),
        ("pinned", "delete", None),
        ("pinned", "", None),
        ("changed", "delete", None),
        ("approved", "delete", "owner"),
    }
    assert len(events) == 5
