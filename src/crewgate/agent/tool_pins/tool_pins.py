"""The pins of all MCP endpoints of this machine: the agent owns them.

Workers report what servers list, and operators approve it. Each change goes into the log and the
audit, and to all workers at once. A task writes the changed files. Only then, a worker gets its
confirmation. So if the agent dies in between, the worker reports again to the next agent. If a
worker has the confirmation, a power loss does not undo the change.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from crewgate.agent.ipc_server.attachments import AttachedProcess, AttachedProcesses
from crewgate.agent.system_clock import SystemClock
from crewgate.agent.tool_pins import pin_audit
from crewgate.agent.tool_pins.pin_files import PinFiles
from crewgate.agent.tool_pins.pin_push import PinPush
from crewgate.agent.tool_pins.pin_writer import PinWriter
from crewgate.core.audit.records import Record
from crewgate.core.mcp.pins.endpoint_pins import EndpointPins, Pin, PinChange
from crewgate.core.mcp.pins.worker_pins import PinnedEndpoint, PinPolicy, PinStatus
from crewgate.errors import PinFileError, ServiceRefusedError
from crewgate.ipc.attach_messages import DefinitionsNoted, ReportDefinitions


class ToolPins:
    """The pins by endpoint. `unreadable` has the endpoints without pins, and why."""

    def __init__(
        self,
        files: PinFiles,
        processes: AttachedProcesses,
        clock: SystemClock,
        sink: Callable[[Sequence[Record]], object],
    ) -> None:
        self._files, self._clock, self._sink = files, clock, sink
        self.policies: Mapping[str, PinPolicy] = {}
        self.unreadable: dict[str, str] = {}
        self.writer = PinWriter(files, lambda endpoint: self._pins[endpoint].saved())
        self.push = PinPush(processes)
        self._pins: dict[str, EndpointPins] = {}
        # Reports that the disk has, of processes that do not have all pins yet.
        self._unconfirmed: list[tuple[AttachedProcess, int]] = []

    def load(self, policies: Mapping[str, PinPolicy]) -> None:
        """Use the endpoints of another configuration; read the files of those that are new."""
        self.policies = {name: each for name, each in policies.items() if each.pins != "off"}
        self.unreadable = {}
        for endpoint in self.policies:
            if endpoint not in self._pins:
                self._read(endpoint)
        self._send()

    def tidy(self) -> None:
        """Send what a process still lacks, and try unreadable files again; call once a second."""
        for endpoint in list(self.unreadable):
            self._read(endpoint)
        self._send()
        unconfirmed, self._unconfirmed = self._unconfirmed, []
        for process, number in unconfirmed:
            self._confirm(process, number)

    def report(self, process: AttachedProcess, request: ReportDefinitions) -> None:
        """Compare what a worker has seen with the pins; confirm it when it is on disk."""
        pins = self._pins.get(request.endpoint)
        if pins is not None:
            clocks = self._clock.read()
            wall, now = clocks.wall, clocks.boot_ns / 1e9
            changes = (pins.observe(each, wall, now) for each in request.seen)
            self._note(request.endpoint, [each for each in changes if each is not None])
        self.writer.when_saved(partial(self._confirm, process, request.id))

    def approve(self, endpoint: str, names: Sequence[str], digest: str = "") -> int:
        """Trust the newest definitions of these tools; return how many pins that changed.

        Raises ServiceRefusedError for an unknown tool, or if no newest digest begins with `digest`.
        """
        pins = self.of(endpoint)
        for name in names:
            pin = self.pin(endpoint, name)
            if not (pin.newest or pin.digest).startswith(digest):
                raise ServiceRefusedError(
                    f"the server has changed this tool again; see `crewgate mcp diff {endpoint}`"
                )
        return self._note(endpoint, pins.approve(names, self._clock.read().wall), by="owner")

    def forget(self, endpoint: str, names: Sequence[str]) -> int:
        """Drop the pins of these tools; return how many. Raises ServiceRefusedError."""
        pins = self.of(endpoint)
        for name in names:
            self.pin(endpoint, name)
        changes = pins.forget(names)
        if changes:
            self.push.begin_again(
                _status(each, pin) for each, known in self._pins.items() for pin in known
            )
        return self._note(endpoint, changes, by="owner")

    def endpoints(self) -> list[str]:
        """Return the endpoints whose tools are pinned."""
        return sorted(self.policies)

    def of(self, endpoint: str) -> EndpointPins:
        """Return the pins of an endpoint; raise ServiceRefusedError if it has none."""
        pins = self._pins.get(endpoint)
        if endpoint in self.policies and pins is not None:
            return pins
        if endpoint in self.unreadable:
            raise ServiceRefusedError(self.unreadable[endpoint])
        known = ", ".join(self.endpoints()) or "none"
        raise ServiceRefusedError(
            f"no MCP endpoint {endpoint!r} with pinned tools; the configuration has: {known}"
        )

    def pin(self, endpoint: str, name: str) -> Pin:
        """Return one pin; raise ServiceRefusedError if there is none."""
        pin = self.of(endpoint).get(name)
        if pin is None:
            what = f"no tool {name!r}" if name else "no instructions"
            raise ServiceRefusedError(
                f"this machine has seen {what} of the server; see `crewgate mcp tools {endpoint}`"
            )
        return pin

    def _read(self, endpoint: str) -> None:
        try:
            saved = self._files.read(endpoint)
        except PinFileError as error:
            self.unreadable[endpoint] = str(error)
            return
        self.unreadable.pop(endpoint, None)
        pins = self._pins[endpoint] = EndpointPins(endpoint, saved)
        self.push.update(_status(endpoint, pin) for pin in pins)

    def _note(self, endpoint: str, changes: Sequence[PinChange], by: str = "") -> int:
        """Record, log, write and push the changes of one endpoint; return how many there are."""
        if not changes:
            return 0
        wall_ns = self._clock.wall_ns()
        self._sink([pin_audit.recorded(each, wall_ns, by) for each in changes])
        pin_audit.log(changes)
        self.writer.add(endpoint)
        pins = self._pins[endpoint]
        changed = (pins.get(each.name) for each in changes)
        self.push.update(_status(endpoint, pin) for pin in changed if pin is not None)
        self._send()
        return len(changes)

    def _send(self) -> None:
        wall = self._clock.read().wall
        self.push.send_all(
            [
                PinnedEndpoint(endpoint, self._pins[endpoint].is_first_use(wall))
                for endpoint in self.endpoints()
                if endpoint in self._pins
            ]
        )

    def _confirm(self, process: AttachedProcess, number: int) -> None:
        if process.gone:
            return
        is_sent = self.push.send(process) and process.send(DefinitionsNoted(number))
        if not is_sent:
            self._unconfirmed.append((process, number))


def _status(endpoint: str, pin: Pin) -> PinStatus:
    return PinStatus(
        endpoint,
        pin.name,
        pin.digest,
        is_changed=bool(pin.changed),
        is_new=pin.is_new,
        is_gone=bool(pin.gone),
        newest=pin.newest,
    )
