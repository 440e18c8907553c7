"""One machine with pinned tools: an agent that can be killed, and workers without sockets."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
from agent_world import Hands

from crewgate.agent.tool_pins.pin_files import PinFiles
from crewgate.agent.tool_pins.tool_pins import ToolPins
from crewgate.core.audit.records import Record, ToolPinRecord
from crewgate.core.mcp.pins.worker_pins import PinPolicy, WorkerPins
from crewgate.ipc.attach_messages import DefinitionsNoted, PinsPushed, ReportDefinitions

BLOCK = PinPolicy("block", "refuse")


def tool(name: str, version: int = 1) -> bytes:
    """A tool as a server lists it; each version has another description."""
    return json.dumps({"name": name, "description": f"Version {version}."}).encode()


class PinWorker:
    """A worker: its pins, and the part of an attached process that the agent uses.

    While `is_stuck`, its queue is full of pushes, and has room for answers.
    """

    takes_pins = True
    gone = False

    def __init__(self, policies: dict[str, PinPolicy]) -> None:
        self.pins = WorkerPins()
        self.pins.load(policies)
        self.pins_version = -1
        self.pins_complete: object = None
        self.is_stuck = False
        self.pushes: list[PinsPushed] = []

    def send(self, message: msgspec.Struct) -> bool:
        """Take a message of the agent."""
        if isinstance(message, PinsPushed):
            if self.is_stuck:
                return False
            self.pushes.append(message)
            self.pins.apply(message.pins, message.complete, begins=message.begins)
        elif isinstance(message, DefinitionsNoted):
            self.pins.confirm(message.id)
        return True


class PinMachine:
    """An agent with the files in a folder, and its workers."""

    def __init__(self, folder: Path, workers: int = 2, *endpoints: str) -> None:
        self.policies = dict.fromkeys(endpoints or ("files",), BLOCK)
        self.files = PinFiles(folder)
        self.clock = Hands()
        self.records: list[ToolPinRecord] = []
        self.workers = [PinWorker(self.policies) for _ in range(workers)]
        self.start()

    def start(self) -> None:
        """Start an agent in the place of the one that was killed: it has what the files have."""
        for worker in self.workers:
            worker.pins_version, worker.pins_complete = -1, None
            worker.pins.begin_again()
        self.agent = ToolPins(self.files, self.workers, self.clock, self._record)  # type: ignore[arg-type]
        self.agent.load(self.policies)

    def report(self, *workers: PinWorker) -> None:
        """Send what the workers have for the agent."""
        for worker in workers or self.workers:
            while (report := worker.pins.next_report()) is not None:
                message = ReportDefinitions(report.number, report.endpoint, report.seen)
                self.agent.report(worker, message)  # type: ignore[arg-type]

    def list_tools(self, worker: int, *tools: bytes, is_whole: bool = False) -> None:
        """Have a worker see a list of the server, and report it."""
        pins = self.workers[worker].pins
        pins.observe("files", tools)
        if is_whole:
            pins.observe_whole("files", {json.loads(tool)["name"] for tool in tools})
        self.report(self.workers[worker])

    def states(self, name: str) -> set[str]:
        """The states that the workers know of a tool."""
        return {worker.pins.state_of("files", name).value for worker in self.workers}

    def events(self) -> list[tuple[str, str]]:
        """The events in the audit, with the tool of each."""
        return [(record.event, record.tool) for record in self.records]

    def _record(self, records: Sequence[Record] | Iterable[Record]) -> None:
        self.records += [each for each in records if isinstance(each, ToolPinRecord)]
