"""Pins of a machine: first use, kills between report and disk, slow readers, damaged files."""

from collections import defaultdict
from pathlib import Path
from random import Random

import pytest
from pin_world import BLOCK, PinMachine, tool

from crewgate import limits
from crewgate.agent.tool_pins import pin_health
from crewgate.core.health import HealthState
from crewgate.core.mcp.pins.tool_definitions import INSTRUCTIONS
from crewgate.core.reasons import Reason
from crewgate.errors import ServiceRefusedError
from crewgate.runtime import durable_files


@pytest.fixture
def machine(tmp_path: Path) -> PinMachine:
    """An agent with the endpoint `files`, and two workers."""
    return PinMachine(tmp_path / "pins")


async def test_of_two_first_definitions_one_is_pinned_and_one_is_a_change(
    machine: PinMachine,
) -> None:
    """Two workers see different definitions before the agent knows any."""
    first, second = machine.workers
    first.pins.observe("files", [tool("read", 1)])
    second.pins.observe("files", [tool("read", 2)])
    assert machine.states("read") == {"pinned"}
    machine.report(second, first)
    assert machine.states("read") == {"changed"}
    assert machine.events() == [("pinned", "read"), ("changed", "read")]
    assert machine.records[1].was == machine.records[0].now


async def test_the_agent_may_die_between_report_and_disk(machine: PinMachine) -> None:
    """Without a confirmation the workers report again, each what it knows; then it is on disk."""
    machine.list_tools(0, tool("read", 1))
    await machine.agent.writer.flush()
    machine.list_tools(0, tool("read", 2))
    assert machine.states("read") == {"changed"}
    machine.start()
    assert machine.states("read") == {"changed"}
    machine.report(machine.workers[1])
    assert machine.agent.pin("files", "read").changed
    machine.start()
    machine.report(machine.workers[0])
    assert machine.agent.pin("files", "read").newest_definition
    assert machine.states("read") == {"changed"}
    await machine.agent.writer.flush()
    assert machine.workers[0].pins.next_report() is None
    machine.start()
    machine.report()
    assert machine.states("read") == {"changed"}


async def test_a_change_is_on_disk_before_its_worker_forgets_it(
    machine: PinMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the disk refuses, the worker keeps the report and health names the disk."""

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device", "pins")

    machine.list_tools(0, tool("read", 1))
    with monkeypatch.context() as patch:
        patch.setattr(machine.files, "write", fail)
        await machine.agent.writer.flush()
        facts = {each.component: each for each in pin_health.facts(machine.agent)}
        assert facts["pins of MCP tools"].state is HealthState.DEGRADED
    machine.start()
    machine.report()
    assert machine.states("read") == {"pinned"}
    await machine.agent.writer.flush()
    assert {each.state for each in pin_health.facts(machine.agent)} == {HealthState.OK}
    machine.start()
    assert machine.agent.pin("files", "read").name == "read"


async def test_a_power_loss_leaves_the_old_file_or_the_new_one(
    machine: PinMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The content is on the disk before its name, and both before the worker is confirmed."""
    events: list[str] = []
    real_fsync, real_folder = durable_files.os.fsync, durable_files.sync_folder
    monkeypatch.setattr(
        durable_files.os, "fsync", lambda fd: (events.append("content"), real_fsync(fd))
    )
    monkeypatch.setattr(
        durable_files, "sync_folder", lambda path: (events.append("name"), real_folder(path))
    )
    monkeypatch.setattr(machine.workers[0].pins, "confirm", lambda _: events.append("confirmation"))
    machine.list_tools(0, tool("read", 1))
    await machine.agent.writer.flush()
    at = events.index("content")
    assert events[at:].index("name") < events[at:].index("confirmation")
    assert [path.name for path in machine.files.path("files").parent.iterdir()] == ["files.json"]


async def test_a_process_that_does_not_read_lacks_nothing_later(machine: PinMachine) -> None:
    """The agent sends the rest when there is room, and confirms only what it has pushed."""
    slow = machine.workers[1]
    slow.is_stuck = True
    for version in (1, 2):
        machine.list_tools(0, *(tool(f"t{number}", version) for number in range(300)))
    slow.pins.observe("files", [tool("own")])
    machine.report(slow)
    await machine.agent.writer.flush()
    assert slow.pins.state_of("files", "t7") == "unknown"
    slow.is_stuck = False
    machine.agent.tidy()
    assert machine.states("t7") == machine.states("t299") == {"changed"}
    assert machine.states("own") == {"pinned"}
    assert max(len(push.pins) for push in slow.pushes) <= limits.mcp_pins_in_push


async def test_a_damaged_file_is_no_first_use(machine: PinMachine, tmp_path: Path) -> None:
    """The endpoint has no pins until a person has mended the file; others are served."""
    machine.list_tools(0, tool("read", 1))
    await machine.agent.writer.flush()
    path = machine.files.path("files")
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    machine.policies["notes"] = BLOCK
    machine.workers = PinMachine(tmp_path / "other", 1, "files", "notes").workers
    machine.start()
    pins = machine.workers[0].pins
    assert pins.refusal_of("files", "read") is Reason.PINS_UNAVAILABLE
    assert pins.refusal_of("notes", "read") is Reason.TOOL_NOT_APPROVED
    machine.list_tools(0, tool("read", 2))
    assert pins.refusal_of("files", "read") is Reason.PINS_UNAVAILABLE
    (fact,) = [each for each in pin_health.facts(machine.agent) if each.why]
    assert (fact.component, fact.state) == ("MCP endpoint files", HealthState.FAILED)
    assert str(path) in fact.why
    with pytest.raises(ServiceRefusedError, match="damaged"):
        machine.agent.of("files")
    path.write_bytes(whole)
    machine.agent.tidy()
    assert pins.refusal_of("files", "read") is None


def test_health_says_what_a_change_hides_or_refuses(machine: PinMachine) -> None:
    """Instructions have no calls: the gateway hides them."""
    machine.list_tools(0, tool("read", 1))
    pins = machine.workers[0].pins
    pins.observe_instructions("files", b'{"instructions":"Be brief."}')
    pins.observe_instructions("files", b"{}")
    machine.report()
    (fact,) = [each for each in pin_health.facts(machine.agent) if each.why]
    assert fact.why.endswith("changed its instructions; the gateway hides them from clients")
    machine.list_tools(0, tool("read", 2))
    (fact,) = [each for each in pin_health.facts(machine.agent) if each.why]
    assert fact.why.endswith("the gateway refuses calls of changed tools")


def test_health_names_both_changed_and_new_tools(machine: PinMachine) -> None:
    """A change does not hide that the server has also added a tool."""
    machine.list_tools(0, tool("read", 1))
    machine.clock.go(limits.mcp_first_use_seconds + 1)
    machine.list_tools(0, tool("read", 2), tool("delete", 1))
    (fact,) = [each for each in pin_health.facts(machine.agent) if each.why]
    assert "has changed the tool read; the gateway refuses calls of changed tools" in fact.why
    assert "has added the tool delete; the gateway refuses calls of new tools" in fact.why


async def test_an_operator_approves_what_he_has_read(machine: PinMachine) -> None:
    """A tool that changed again after the diff is not approved, and a tool must exist."""
    machine.list_tools(0, tool("read", 1), tool("delete", 1))
    machine.workers[0].pins.observe_instructions("files", b'{"instructions":"Be brief."}')
    machine.workers[0].pins.observe_instructions("files", b"{}")
    machine.list_tools(0, tool("read", 2), tool("delete", 1))
    newest = machine.agent.pin("files", "read").newest
    machine.list_tools(1, tool("read", 3))
    with pytest.raises(ServiceRefusedError, match="changed this tool again"):
        machine.agent.approve("files", ["read"], newest[:32])
    with pytest.raises(ServiceRefusedError, match="no tool 'write'"):
        machine.agent.approve("files", ["write"])
    with pytest.raises(ServiceRefusedError, match=r"no MCP endpoint 'file'.*has: files"):
        machine.agent.approve("file", ["read"])
    assert machine.states("read") == machine.states(INSTRUCTIONS) == {"changed"}
    await machine.agent.writer.flush()
    assert machine.agent.approve("files", ["read", "delete"]) == 1
    assert machine.states("read") == {"pinned"}
    machine.list_tools(0, tool("read", 3))
    assert machine.states("read") == {"pinned"}
    machine.list_tools(0, tool("read", 2))
    assert machine.states("read") == {"changed"}
    assert machine.records[-2].by == "owner"


async def test_a_forgotten_tool_is_new_when_it_comes_back(machine: PinMachine) -> None:
    """A rename is one gone and one new; calls of the new one are refused here until approved."""
    machine.list_tools(0, tool("read"), tool("delete"), is_whole=True)
    machine.clock.go(limits.mcp_first_use_seconds + 1)
    machine.agent.tidy()
    machine.list_tools(1, tool("read"), tool("erase"), is_whole=True)
    assert machine.events()[2:] == [("new", "erase"), ("gone", "delete")]
    every = [worker.pins for worker in machine.workers]
    assert {pins.refusal_of("files", "erase") for pins in every} == {Reason.TOOL_NOT_APPROVED}
    await machine.agent.writer.flush()
    assert machine.agent.forget("files", ["delete"]) == 1
    assert machine.states("delete") == {"unknown"}
    machine.list_tools(0, tool("read"), tool("delete"))
    assert machine.states("delete") == {"new"}
    assert machine.states("read") == {"pinned"}


async def test_a_server_that_alternates_costs_little(
    machine: PinMachine, log_lines: list[str]
) -> None:
    """Two thousand lists, each with another description: few records, lines and writes."""
    writes = 0
    real = machine.files.write

    def count(contents: dict[Path, bytes]) -> None:
        nonlocal writes
        writes += 1
        real(contents)

    machine.files.write = count  # type: ignore[method-assign, assignment]
    for version in range(2000):
        machine.list_tools(version % 2, tool("read", version))
        await machine.agent.writer.flush()
    bound = 2 + limits.mcp_repeated_changes_burst
    assert machine.states("read") == {"changed"}
    assert len(machine.records) <= bound
    assert writes <= bound
    assert len(log_lines) <= bound
    assert len(machine.workers[0].pushes) <= bound + 1


@pytest.mark.parametrize("seed", range(30))
async def test_whatever_dies_or_waits_each_change_is_found(tmp_path: Path, seed: int) -> None:
    """Random lists, kills, full queues and disks: if two definitions were seen, all know it."""
    random = Random(seed)
    machine = PinMachine(tmp_path, 3)
    names, shown = ["a", "b", "c", "d"], defaultdict[object, set[int]](set)
    for _ in range(60):
        worker = random.choice(machine.workers)
        name, version = random.choice(names), random.choice([1, 1, 1, 1, 1, 2, 3])
        version = 1 if name == "a" else version
        match random.randrange(6):
            case 0 | 1 | 2:
                worker.pins.observe("files", [tool(name, version)])
                shown[name].add(version)
                shown[worker, name].add(version)
                if len(shown[worker, name]) > 1:
                    assert worker.pins.state_of("files", name) == "changed", seed
            case 3:
                machine.report(worker)
            case 4:
                await machine.agent.writer.flush()
            case _ if random.random() < 0.4:
                machine.start()
            case _:
                worker.is_stuck = not worker.is_stuck
                machine.agent.tidy()
    for worker in machine.workers:
        worker.is_stuck = False
    for _ in range(3):
        machine.agent.tidy()
        machine.report()
        await machine.agent.writer.flush()
    expected = {
        name: ("unknown", "pinned", "changed", "changed")[len(shown[name])] for name in names
    }
    assert {name: machine.states(name) for name in names} == {
        name: {state} for name, state in expected.items()
    }, seed
    machine.workers = PinMachine(tmp_path, 1).workers
    machine.start()
    assert {name: machine.states(name) for name in names} == {
        name: {state} for name, state in expected.items()
    }, seed
