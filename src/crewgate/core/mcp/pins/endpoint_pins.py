"""Pins the tools and the `instructions` of one MCP endpoint: trust on first use, report changes.

A pin is the digest of a definition. The tools of the first list of a server are trusted. A tool
that the server adds later is *new* until a person approves it. If a server shows another definition
than the pinned one, the tool is *changed*, and it stays so until a person approves the newest
definition. It stays so too if the server shows the pinned definition again: a server that
alternates is no reason to trust it.

The first change of each tool always counts, so there are at most `limits.mcp_pinned_tools_max` of
them until a person approves. Further changes pass a token bucket, so that a server that alternates
fills neither log, audit nor disk. The changes that the bucket stops are only counted.

Wall times are whole seconds since 1970. A digest is empty, or has 64 hexadecimal digits.
"""

import enum
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from crewgate import limits
from crewgate.core.mcp.pins.tool_definitions import INSTRUCTIONS, SeenDefinition
from crewgate.core.rate_limit import TokenBucket

# The writer of a file leaves out this very object.
NOT_KEPT: Final = msgspec.Raw()


class PinState(enum.StrEnum):
    """How the newest definition of a tool compares with the one that this machine trusts.

    `UNLOADED`: this process does not know the pins of the endpoint yet. `UNKNOWN`: the server has
    never listed the tool. The others are explained above.
    """

    UNLOADED = "unloaded"
    UNKNOWN = "unknown"
    NEW = "new"
    PINNED = "pinned"
    CHANGED = "changed"


class PinEvent(enum.StrEnum):
    """An event of a pin. `GONE`: a whole list of the server lacks the tool."""

    PINNED = "pinned"
    NEW = "new"
    CHANGED = "changed"
    GONE = "gone"
    BACK = "back"
    APPROVED = "approved"
    FORGOTTEN = "forgotten"


class PinChange(msgspec.Struct, frozen=True):
    """An event of a pin, with its digest before (`was`) and after (`now`).

    `unrecorded` earlier changes of the endpoint were only counted.
    """

    endpoint: str
    name: str
    event: PinEvent
    was: str = ""
    now: str = ""
    unrecorded: int = 0


class Pin(msgspec.Struct, omit_defaults=True):
    """The pin of one tool, or of the instructions.

    Attributes:
        name: The name of the tool, or `INSTRUCTIONS`.
        digest: The pinned digest.
        first_seen: When the server first listed it.
        is_new: Whether the server added it after the first use.
        newest: The digest of the newest definition, if that has ever differed from the pinned one.
        changed: When it first differed; 0 if it has not since the last approval.
        approved: When a person last approved a definition; 0 before the first approval.
        gone: Since when the lists of the server lack it; 0 if they have it.
        definition, newest_definition: The canonical texts; `NOT_KEPT` without a text.
    """

    name: str
    digest: str
    first_seen: int
    is_new: bool = False
    newest: str = ""
    changed: int = 0
    approved: int = 0
    gone: int = 0
    definition: msgspec.Raw = NOT_KEPT
    newest_definition: msgspec.Raw = NOT_KEPT

    @property
    def state(self) -> PinState:
        """The state of the newest definition."""
        if self.changed:
            return PinState.CHANGED
        return PinState.NEW if self.is_new else PinState.PINNED

    @property
    def kept_bytes(self) -> int:
        """The length of the texts that are kept."""
        return len(self.definition) + len(self.newest_definition)


class SavedPins(msgspec.Struct, frozen=True):
    """The pins of one endpoint, as the file of the agent has them; `version` is that of the file.

    `first_use` is when the server listed its first tool.
    """

    version: int
    first_use: int
    pins: list[Pin]


VERSION = 1


class EndpointPins:
    """The pins of one endpoint, by name; at most `limits.mcp_pinned_tools_max`."""

    def __init__(self, endpoint: str, saved: SavedPins | None = None) -> None:
        self._endpoint = endpoint
        self._first_use = saved.first_use if saved else 0
        self._pins = {pin.name: pin for pin in saved.pins} if saved else {}
        self._kept_bytes = sum(pin.kept_bytes for pin in self)
        self._repeated = TokenBucket(
            limits.mcp_repeated_changes_per_second, limits.mcp_repeated_changes_burst
        )
        self._unrecorded = 0

    def __iter__(self) -> Iterator[Pin]:
        return iter(self._pins.values())

    def __len__(self) -> int:
        return len(self._pins)

    def get(self, name: str) -> Pin | None:
        """Return the pin of a tool."""
        return self._pins.get(name)

    @property
    def is_full(self) -> bool:
        """Whether no further tool can be pinned."""
        return len(self._pins) >= limits.mcp_pinned_tools_max

    def is_first_use(self, wall: int) -> bool:
        """Return whether a tool that the server lists for the first time is one of its first."""
        if not self._first_use:
            return True
        return 0 <= wall - self._first_use <= limits.mcp_first_use_seconds

    def saved(self) -> SavedPins:
        """Return what the file must have."""
        return SavedPins(VERSION, self._first_use, list(self))

    def observe(self, seen: SeenDefinition, wall: int, now: float) -> PinChange | None:
        """Compare what a server says with the pin; return what that changed, if anything.

        `now` is seconds of a monotonic clock.
        """
        pin = self._pins.get(seen.name)
        if not seen.digest:
            return self._missing(pin, wall, now)
        if pin is None:
            return self._add(seen, wall)
        newest = pin.newest or pin.digest
        if seen.digest == newest:
            if not pin.gone or not self._may_repeat(now):
                return None
            pin.gone = 0
            return self._change(pin, PinEvent.BACK)
        if pin.changed and not self._may_repeat(now):
            return None
        pin.newest, pin.changed, pin.gone = seen.digest, pin.changed or wall, 0
        is_pinned = seen.digest == pin.digest
        text = NOT_KEPT if is_pinned else self._text(seen, pin.newest_definition)
        self._keep(pin, pin.definition, text)
        return self._change(pin, PinEvent.CHANGED, newest)

    def approve(self, names: Iterable[str], wall: int) -> list[PinChange]:
        """Trust the newest definitions of these tools; return what that changed."""
        changes = []
        for pin in self._named(names):
            if pin.state is PinState.PINNED:
                continue
            before = pin.digest
            if pin.changed and pin.newest != pin.digest:
                pin.digest = pin.newest
                self._keep(pin, pin.newest_definition, NOT_KEPT)
            else:
                self._keep(pin, pin.definition, NOT_KEPT)
            pin.newest, pin.changed, pin.is_new, pin.approved = "", 0, False, wall
            changes.append(self._change(pin, PinEvent.APPROVED, before))
        return changes

    def forget(self, names: Iterable[str]) -> list[PinChange]:
        """Drop the pins of these tools; return what that changed."""
        changes = []
        for pin in self._named(names):
            changes.append(self._change(pin, PinEvent.FORGOTTEN, pin.digest, ""))
            self._kept_bytes -= pin.kept_bytes
            del self._pins[pin.name]
        return changes

    def _named(self, names: Iterable[str]) -> list[Pin]:
        return [self._pins[name] for name in dict.fromkeys(names) if name in self._pins]

    def _missing(self, pin: Pin | None, wall: int, now: float) -> PinChange | None:
        if pin is None or pin.gone or pin.name == INSTRUCTIONS or not self._may_repeat(now):
            return None
        pin.gone = wall
        return self._change(pin, PinEvent.GONE)

    def _add(self, seen: SeenDefinition, wall: int) -> PinChange | None:
        is_tool = seen.name != INSTRUCTIONS
        if is_tool and self.is_full:
            return None
        if is_tool and not self._first_use:
            self._first_use = wall
        pin = Pin(seen.name, seen.digest, wall, is_new=is_tool and not self.is_first_use(wall))
        self._pins[pin.name] = pin
        self._keep(pin, self._text(seen, NOT_KEPT), NOT_KEPT)
        return self._change(pin, PinEvent.NEW if pin.is_new else PinEvent.PINNED)

    def _text(self, seen: SeenDefinition, replaced: msgspec.Raw) -> msgspec.Raw:
        """Return the text to keep, or `NOT_KEPT` if there is no room for it besides the others."""
        room = limits.mcp_definitions_bytes_max - self._kept_bytes + len(replaced)
        return msgspec.Raw(seen.text) if 0 < len(seen.text) <= room else NOT_KEPT

    def _keep(self, pin: Pin, definition: msgspec.Raw, newest_definition: msgspec.Raw) -> None:
        self._kept_bytes -= pin.kept_bytes
        pin.definition, pin.newest_definition = definition, newest_definition
        self._kept_bytes += pin.kept_bytes

    def _may_repeat(self, now: float) -> bool:
        if self._repeated.take(now):
            return True
        self._unrecorded += 1
        return False

    def _change(
        self, pin: Pin, event: PinEvent, was: str = "", now: str | None = None
    ) -> PinChange:
        unrecorded, self._unrecorded = self._unrecorded, 0
        newest = (pin.newest or pin.digest) if now is None else now
        return PinChange(self._endpoint, pin.name, event, was, newest, unrecorded)
