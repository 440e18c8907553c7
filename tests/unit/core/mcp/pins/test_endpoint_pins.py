"""Pins of one endpoint: trust on first use, changes that stay, and a bound on all that repeats."""

import msgspec
import pytest

from crewgate import limits
from crewgate.core.mcp.pins.endpoint_pins import (
    EndpointPins,
    PinChange,
    PinEvent,
    PinState,
    SavedPins,
)
from crewgate.core.mcp.pins.tool_definitions import INSTRUCTIONS, SeenDefinition, lacking

WALL, NOW = 1_800_000_000, 1000.0
LATER = WALL + limits.mcp_first_use_seconds + 1


def seen(name: str, version: int, size: int = 8) -> SeenDefinition:
    """A definition of a tool that differs by its version."""
    return SeenDefinition(name, f"{version:064x}", b'"%s"' % (b"x" * (size - 2)))


@pytest.fixture
def pins() -> EndpointPins:
    """One endpoint whose server has listed two tools."""
    pins = EndpointPins("files")
    for name in ("read", "delete"):
        assert pins.observe(seen(name, 1), WALL, NOW) == PinChange(
            "files", name, PinEvent.PINNED, "", f"{1:064x}"
        )
    return pins


def state(pins: EndpointPins, name: str) -> PinState:
    """The state of a tool."""
    pin = pins.get(name)
    assert pin is not None
    return pin.state


def test_the_tools_of_the_first_use_are_trusted_and_later_ones_are_new(pins: EndpointPins) -> None:
    """Pages of one list come within minutes; the instructions may come at any time."""
    pins.observe(seen("page-two", 1), LATER - 1, NOW)
    assert state(pins, "page-two") is PinState.PINNED
    found = pins.observe(seen("added", 1), LATER, NOW)
    assert found == PinChange("files", "added", PinEvent.NEW, "", f"{1:064x}")
    pins.observe(seen(INSTRUCTIONS, 1), LATER, NOW)
    assert (state(pins, "added"), state(pins, INSTRUCTIONS)) == (PinState.NEW, PinState.PINNED)
    assert pins.observe(seen("before", 1), WALL - 10_000, NOW).event is PinEvent.NEW  # type: ignore[union-attr]


def test_a_change_stays_until_a_person_approves_it(pins: EndpointPins) -> None:
    """The pinned definition is what was first seen, even if the server shows it again."""
    assert pins.observe(seen("delete", 1), LATER, NOW) is None
    changed = pins.observe(seen("delete", 2), LATER, NOW)
    assert changed == PinChange("files", "delete", PinEvent.CHANGED, f"{1:064x}", f"{2:064x}")
    assert pins.observe(seen("delete", 2), LATER + 1, NOW) is None
    back = pins.observe(seen("delete", 1), LATER + 2, NOW)
    assert back == PinChange("files", "delete", PinEvent.CHANGED, f"{2:064x}", f"{1:064x}")
    assert (state(pins, "delete"), state(pins, "read")) == (PinState.CHANGED, PinState.PINNED)
    pin = pins.get("delete")
    assert pin is not None
    assert (pin.digest, pin.newest, pin.changed) == (f"{1:064x}", f"{1:064x}", LATER)
    pins.observe(seen("delete", 3), LATER + 3, NOW)
    changes = pins.approve(["delete", "read", "unknown", "delete"], LATER + 4)
    assert changes == [PinChange("files", "delete", PinEvent.APPROVED, f"{1:064x}", f"{3:064x}")]
    assert (pin.state, pin.digest, pin.approved) == (PinState.PINNED, f"{3:064x}", LATER + 4)
    assert not pin.newest_definition
    assert pins.observe(seen("delete", 1), LATER + 5, NOW) is not None


def test_an_approved_new_tool_is_pinned(pins: EndpointPins) -> None:
    """Also if the server has changed it before anybody approved it."""
    pins.observe(seen("added", 1), LATER, NOW)
    pins.observe(seen("added", 2), LATER, NOW)
    assert state(pins, "added") is PinState.CHANGED
    pins.approve(["added"], LATER)
    assert state(pins, "added") is PinState.PINNED
    assert pins.observe(seen("added", 2), LATER, NOW) is None


def test_a_renamed_tool_is_one_gone_and_one_new(pins: EndpointPins) -> None:
    """A whole list says what is missing; calls of a missing tool are the server's affair."""
    assert pins.observe(seen("erase", 1), LATER, NOW).event is PinEvent.NEW  # type: ignore[union-attr]
    gone = pins.observe(lacking("delete"), LATER, NOW)
    assert gone is not None
    assert (gone.name, gone.event) == ("delete", PinEvent.GONE)
    assert pins.observe(lacking("delete"), LATER, NOW) is None
    assert pins.observe(lacking("never"), LATER, NOW) is None
    back = pins.observe(seen("delete", 1), LATER + 1, NOW)
    assert back is not None
    assert (back.event, state(pins, "delete")) == (PinEvent.BACK, PinState.PINNED)


def test_a_server_that_alternates_makes_few_events(pins: EndpointPins) -> None:
    """Beyond a burst, one a minute; the next event has the number of those that have none."""
    changes = [
        pins.observe(seen("delete", version), LATER, NOW + version / 1000)
        for version in range(2, 2002)
    ]
    made = [each for each in changes if each is not None]
    assert len(made) == 1 + limits.mcp_repeated_changes_burst
    left = 2000 - len(made)
    assert pins.observe(seen("read", 2), LATER, NOW + 3).unrecorded == left  # type: ignore[union-attr]
    flapping = [
        pins.observe(each, LATER, NOW + 4) for each in (lacking("read"), seen("read", 2)) * 50
    ]
    assert not any(flapping)
    assert pins.observe(seen("delete", 7), LATER, NOW + 100) is not None


def test_the_first_change_of_each_tool_is_never_left_out() -> None:
    """A server that changes all its tools at once shows it for each of them."""
    pins, names = EndpointPins("files"), [f"t{number}" for number in range(500)]
    for name in names:
        pins.observe(seen(name, 1), WALL, NOW)
    assert all(pins.observe(seen(name, 2), LATER, NOW) for name in names)


def test_tools_and_kept_texts_are_bounded() -> None:
    """A server with endless tools fills its own room, and the pinned ones are still compared."""
    pins = EndpointPins("files")
    for number in range(limits.mcp_pinned_tools_max + 50):
        pins.observe(seen(f"t{number}", 1, 4000), WALL, NOW)
    assert (len(pins), pins.is_full) == (limits.mcp_pinned_tools_max, True)
    assert sum(pin.kept_bytes for pin in pins) <= limits.mcp_definitions_bytes_max
    last = f"t{limits.mcp_pinned_tools_max - 1}"
    assert pins.observe(seen(last, 2, 4000), LATER, NOW).event is PinEvent.CHANGED  # type: ignore[union-attr]
    assert pins.observe(seen(INSTRUCTIONS, 1), LATER, NOW) is not None
    pins.forget([pin.name for pin in pins][:40])
    assert not pins.is_full
    kept = pins.observe(seen("again", 1, 4000), LATER, NOW)
    assert kept is not None
    assert pins.get("again").definition  # type: ignore[union-attr]


def test_a_file_has_all_of_it(pins: EndpointPins) -> None:
    """The next agent has all that an agent writes."""
    pins.observe(seen("delete", 2), LATER, NOW)
    pins.observe(lacking("read"), LATER, NOW)
    pins.observe(seen("added", 1), LATER, NOW)
    text = msgspec.json.encode(pins.saved())
    again = EndpointPins("files", msgspec.json.decode(text, type=SavedPins))
    assert msgspec.json.encode(again.saved()) == text
    assert state(again, "delete") is PinState.CHANGED
    assert again.observe(seen("late", 1), LATER, NOW).event is PinEvent.NEW  # type: ignore[union-attr]
    assert again.observe(seen("delete", 2), LATER, NOW) is None
