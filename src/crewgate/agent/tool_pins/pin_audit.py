"""Writes the events of pins as audit records and as log lines."""

import logging
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Final

from crewgate import limits
from crewgate.core.audit import records
from crewgate.core.mcp.pins.endpoint_pins import PinChange, PinEvent
from crewgate.core.mcp.pins.tool_definitions import INSTRUCTIONS

_log = logging.getLogger(__name__)
_LINES: Final = {
    PinEvent.PINNED: (logging.INFO, "pinned at the first use: %s"),
    PinEvent.NEW: (logging.WARNING, "the server has added %s"),
    PinEvent.CHANGED: (logging.WARNING, "the server has changed %s; see `crewgate mcp diff {}`"),
    PinEvent.GONE: (logging.WARNING, "the server no longer lists %s"),
    PinEvent.BACK: (logging.INFO, "the server lists again %s"),
    PinEvent.APPROVED: (logging.INFO, "a person approved %s"),
    PinEvent.FORGOTTEN: (logging.INFO, "a person removed the pins of %s"),
}


def recorded(change: PinChange, wall_ns: int, by: str) -> records.ToolPinRecord:
    """Return the audit record of a change. `by` ordered it."""
    return records.ToolPinRecord(
        time=records.when(wall_ns),
        endpoint=change.endpoint,
        tool=change.name,
        event=change.event.value,
        was=change.was,
        now=change.now,
        by=by,
        unrecorded=change.unrecorded,
    )


def log(changes: Iterable[PinChange]) -> None:
    """Log the changes of one endpoint: one line for each sort of event."""
    for event, same in groupby(sorted(changes, key=_event), key=_event):
        found = list(same)
        level, text = _LINES[event]
        unrecorded = sum(each.unrecorded for each in found)
        more = f" ({unrecorded} more changes were only counted)" if unrecorded else ""
        line = f"MCP endpoint %s: {text.format(found[0].endpoint)}%s"
        _log.log(level, line, found[0].endpoint, named([each.name for each in found]), more)


def named(names: Sequence[str]) -> str:
    """Return a text with some of the names, and how many more there are."""
    shown = [
        "its instructions" if name == INSTRUCTIONS else f"the tool {name}"
        for name in names[: limits.mcp_pin_names_in_log]
    ]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _event(change: PinChange) -> PinEvent:
    return change.event
