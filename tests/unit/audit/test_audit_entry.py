"""A record that a person may want to look at is a warning; a summary says what it is about."""

import pytest
from audit_entries import NOW_NS, entry

from crewgate.core.audit.records import ToolPinRecord, when
from crewgate.core.mcp.pins.endpoint_pins import PinEvent

PIN = ToolPinRecord(time=when(NOW_NS), endpoint="files", tool="delete", event="changed")


@pytest.mark.parametrize("event", PinEvent)
def test_a_change_by_an_mcp_server_is_a_warning(event: PinEvent) -> None:
    """The first use, and an approval by a person, are none."""
    found = entry(PIN, event=event.value)
    assert found.is_warning is (event in {PinEvent.NEW, PinEvent.CHANGED, PinEvent.GONE})
    assert found.summary == f"mcp-pin delete {event.value}"
