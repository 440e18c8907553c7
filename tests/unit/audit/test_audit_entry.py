"""A record that a person may want to look at is a warning; a summary says what it is about."""

import pytest
from audit_entries import NOW_NS, entry

from crewgate.core.audit.records import RuleStepRecord, ToolPinRecord, when
from crewgate.core.mcp.pins.endpoint_pins import PinEvent

PIN = ToolPinRecord(time=when(NOW_NS), endpoint="files", tool="delete", event="changed")


@pytest.mark.parametrize("event", PinEvent)
def test_a_change_by_an_mcp_server_is_a_warning(event: PinEvent) -> None:
    """The first use, and an approval by a person, are none."""
    found = entry(PIN, event=event.value)
    assert found.is_warning is (event in {PinEvent.NEW, PinEvent.CHANGED, PinEvent.GONE})
    assert found.summary == f"mcp-pin delete {event.value}"


@pytest.mark.parametrize(
    ("mode", "step", "said"),
    [
        ("enforce", "end", "ended branch b"),
        ("observe", "end", "would have ended branch b"),
        ("observe", "warn", "warned branch b"),
    ],
)
def test_a_step_of_a_rule_is_a_warning(mode: str, step: str, said: str) -> None:
    """Its summary says which rule, what it does, or would do, and at which count."""
    record = RuleStepRecord(
        time=when(NOW_NS), crew="article", orchestrator="article/one", process="", role="",
        branch="b", rule="same-call", rule_kind="same-call", step=step, mode=mode, count=20,
        limit=20,
    )  # fmt: skip
    found = entry(record)
    assert found.is_warning
    assert found.summary == f"rule same-call {said} at 20"
