"""The pins of MCP tools as one worker knows them, and the decisions that follow from them.

The worker decides by its copy alone, and never waits for the agent on the way of a request. The
agent pushes all pins. The worker compares each list of a server with them and reports each
definition that differs. Until the agent has a definition on disk, the worker counts it as well.

    list of a server   observe, then next_report: the agent writes it and pushes the pins
    pins of the agent  apply, then confirm: the report is on disk
    call of a tool     refusal_of
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Literal

import msgspec

from crewgate import limits
from crewgate.core.mcp.pins import tool_definitions
from crewgate.core.mcp.pins.definition_outbox import DefinitionOutbox, DefinitionReport
from crewgate.core.mcp.pins.endpoint_pins import PinState
from crewgate.core.mcp.pins.tool_definitions import INSTRUCTIONS, SeenDefinition
from crewgate.core.reasons import Reason

PinMode = Literal["off", "warn", "block"]
UnapprovedTools = Literal["allow", "refuse"]


class PinPolicy(msgspec.Struct, frozen=True):
    """The reaction of an endpoint to definitions that change, and to tools that are not pinned."""

    pins: PinMode = "warn"
    unapproved_tools: UnapprovedTools = "allow"

    @property
    def may_refuse(self) -> bool:
        """Whether some definitions refuse a call."""
        return self.pins == "block" or self.unapproved_tools == "refuse"


_NOT_PINNED = PinPolicy("off")


class PinStatus(msgspec.Struct, frozen=True, gc=False):
    """The pin of one tool as the agent pushes it; the fields are those of `endpoint_pins.Pin`."""

    endpoint: str
    name: str
    digest: str
    is_changed: bool = False
    is_new: bool = False
    is_gone: bool = False
    newest: str = ""


class PinnedEndpoint(msgspec.Struct, frozen=True):
    """An endpoint whose pins the agent has pushed.

    `is_first_use`: a tool that the server lists now for the first time is one of its first tools.
    """

    name: str
    is_first_use: bool


class WorkerPins:
    """The copy of one worker. Until `load`, every tool passes."""

    def __init__(self) -> None:
        # Called when there is something to report.
        self.on_report: Callable[[], None] = lambda: None
        self._policies: Mapping[str, PinPolicy] = {}
        # The endpoints whose pins may refuse a call.
        self._refusing: frozenset[str] = frozenset()
        self._pins: dict[str, dict[str, PinStatus]] = {}
        # By endpoint; endpoints without a copy are missing.
        self._is_first_use: dict[str, bool] = {}
        # The pins that a new connection has pushed so far; None once it has pushed all.
        self._incoming: dict[str, dict[str, PinStatus]] | None = {}
        # The pins of the agent that has ended, until the next one has pushed all of its own.
        self._previous: dict[str, dict[str, PinStatus]] = {}
        self._outbox = DefinitionOutbox()
        # Name and digest of a definition, by the SHA-256 of its bytes.
        self._read: dict[bytes, tuple[str, str] | None] = {}

    def load(self, policies: Mapping[str, PinPolicy]) -> None:
        """Use these policies from now on, by endpoint."""
        self._policies = policies
        self._refusing = frozenset(name for name, each in policies.items() if each.may_refuse)

    # For lists and calls.

    def is_pinned(self, endpoint: str) -> bool:
        """Return whether the tools of an endpoint are compared with pins."""
        return self._policies.get(endpoint, _NOT_PINNED).pins != "off"

    def observe(self, endpoint: str, tools: Sequence[bytes]) -> None:
        """Compare the JSON texts of tools that the server lists with the pins."""
        if not self.is_pinned(endpoint):
            return
        for tool in tools:
            known = self._name_and_digest(tool)
            if known is not None and self._differs(endpoint, *known):
                self._add(endpoint, tool_definitions.read_tool(tool))
        if self._outbox.has_unsent:
            self.on_report()

    def observe_whole(self, endpoint: str, names: Collection[str]) -> None:
        """Compare the names of all tools that the server has with the pins."""
        if not self.is_pinned(endpoint):
            return
        listed = {INSTRUCTIONS, *names}
        for pin in self._pins.get(endpoint, {}).values():
            if not pin.is_gone and pin.name not in listed:
                self._add(endpoint, tool_definitions.lacking(pin.name))
        if self._outbox.has_unsent:
            self.on_report()

    def observe_instructions(self, endpoint: str, result: bytes) -> None:
        """Compare the instructions in a result of `server/discover` or `initialize`."""
        if not self.is_pinned(endpoint):
            return
        seen = tool_definitions.read_instructions(result)
        if seen is not None and self._differs(endpoint, INSTRUCTIONS, seen.digest):
            self._add(endpoint, seen)
            self.on_report()

    def names(self, endpoint: str) -> Sequence[str]:
        """Return the names of the pinned tools that the newest list of the server has."""
        pins = self._pins.get(endpoint, {}).values()
        return [pin.name for pin in pins if not pin.is_gone and pin.name != INSTRUCTIONS]

    def state_of(self, endpoint: str, name: str) -> PinState:
        """Return the state of a tool, or of the `INSTRUCTIONS`."""
        if endpoint not in self._is_first_use:
            return PinState.UNLOADED
        pin = self._pins[endpoint].get(name)
        seen = [each for each in self._outbox.seen(endpoint, name) if each.digest]
        if pin is None and not seen:
            return PinState.UNKNOWN
        pinned = seen[0].digest if pin is None else pin.digest
        if any(each.digest != pinned for each in seen) or (pin is not None and pin.is_changed):
            return PinState.CHANGED
        return PinState.NEW if self._is_new(endpoint, pin, name) else PinState.PINNED

    def refusal_of(self, endpoint: str, name: str | None) -> Reason | None:
        """Return why a tool may not be used or shown; None if it may.

        Without a name, it is about a list of tools: it needs a copy of the pins. For
        `INSTRUCTIONS`, the gateway leaves the instructions out of the server's answer.
        """
        if endpoint not in self._refusing:
            return None
        policy = self._policies[endpoint]
        blocks, refuses = policy.pins == "block", policy.unapproved_tools == "refuse"
        if endpoint not in self._is_first_use:
            return Reason.PINS_UNAVAILABLE
        if name is None:
            return None
        state = self.state_of(endpoint, name)
        if blocks and state is PinState.CHANGED:
            return Reason.TOOL_CHANGED
        pin = self._pins[endpoint].get(name)
        is_unapproved = state is PinState.UNKNOWN or self._is_new(endpoint, pin, name)
        return Reason.TOOL_NOT_APPROVED if refuses and is_unapproved else None

    # For the connection to the agent.

    def begin_again(self) -> None:
        """Expect the pins of another agent."""
        self._previous = self._pins

    def apply(
        self, pins: Iterable[PinStatus], complete: Iterable[PinnedEndpoint] | None, *, begins: bool
    ) -> None:
        """Take over pins that the agent pushes.

        `begins`: all pins follow, and the copy changes when the last ones have arrived. Until then,
        `complete` is None. Then it has all endpoints.
        """
        if begins:
            self._incoming = {}
            self._outbox.begin_again()
        target = self._pins if self._incoming is None else self._incoming
        for pin in pins:
            target.setdefault(pin.endpoint, {})[pin.name] = pin
            self._outbox.pushed(pin.endpoint, pin.name)
        if complete is None:
            return
        self._is_first_use = {each.name: each.is_first_use for each in complete}
        self._pins = {name: target.get(name, {}) for name in self._is_first_use}
        if self._incoming is not None:
            self._incoming = None
            self._drop_known()
            previous, self._previous = self._previous, {}
            self._report_lost(previous)

    def next_report(self) -> DefinitionReport | None:
        """Return the next report for the agent, if there is one to send."""
        return self._outbox.next()

    def put_back(self, report: DefinitionReport) -> None:
        """Return the report again later, because it could not be sent."""
        self._outbox.put_back(report)

    def confirm(self, number: int) -> None:
        """Note that the agent has the report of this number on disk, and has pushed its pins."""
        self._outbox.confirm(number)

    def _name_and_digest(self, tool: bytes) -> tuple[str, str] | None:
        """Read a definition; remember what the same bytes said before."""
        key = sha256(tool).digest()
        if key in self._read:
            return self._read[key]
        if len(self._read) >= limits.mcp_definitions_read_max:
            del self._read[next(iter(self._read))]
        seen = tool_definitions.read_tool(tool)
        known = self._read[key] = None if seen is None else (seen.name, seen.digest)
        return known

    def _differs(self, endpoint: str, name: str, digest: str) -> bool:
        """Return whether the agent should know of a definition."""
        pin = self._pins.get(endpoint, {}).get(name)
        if pin is not None:
            return pin.is_gone or digest != (pin.newest or pin.digest)
        known = len(self._pins.get(endpoint, ())) + self._outbox.count(endpoint)
        return known < limits.mcp_pinned_tools_max or bool(self._outbox.seen(endpoint, name))

    def _add(self, endpoint: str, seen: SeenDefinition | None) -> None:
        if seen is not None:
            self._outbox.add(endpoint, seen)

    def _is_new(self, endpoint: str, pin: PinStatus | None, name: str) -> bool:
        if pin is not None:
            return pin.is_new
        return name != INSTRUCTIONS and not self._is_first_use[endpoint]

    def _drop_known(self) -> None:
        """Drop definitions that were seen before the pins arrived, and that are the pinned ones."""
        for endpoint, pins in self._pins.items():
            for name in self._outbox.names(endpoint):
                pin, seen = pins.get(name), self._outbox.seen(endpoint, name)
                if pin is not None and all(each.digest == pin.digest for each in seen):
                    self._outbox.drop(endpoint, name)

    def _report_lost(self, previous: Mapping[str, Mapping[str, PinStatus]]) -> None:
        """Report what the last agent knew and the next one does not: it died before a write."""
        for endpoint, pins in previous.items():
            for name, before in pins.items():
                now = self._pins.get(endpoint, {}).get(name)
                if now is None:
                    lost = [before.digest, before.newest]
                elif before.is_changed and not now.is_changed:
                    lost = [before.newest]
                else:
                    continue
                for digest in filter(None, lost):
                    if self._differs(endpoint, name, digest):
                        self._outbox.add(endpoint, SeenDefinition(name, digest))
