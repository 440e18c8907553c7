"""Ends of orchestrators that must not be forgotten."""

from pathlib import Path

import pytest

from crewgate.ca.decommission_intents import DecommissionIntent, DecommissionIntents
from crewgate.errors import CAError


def test_what_was_noted_is_there_until_it_is_done(tmp_path: Path) -> None:
    """For another process too, once each, however often it was noted."""
    intents = DecommissionIntents(tmp_path)
    assert list(intents.open()) == []
    intents.note(DecommissionIntent("bd", "bd-1", "unspecified", 1))
    one = DecommissionIntent("bd", "bd-1", "keyCompromise", 1)
    intents.note(one)
    other = DecommissionIntent("bd", "bd-2", "unspecified", 1)
    intents.note(other)
    assert list(DecommissionIntents(tmp_path).open()) == [one, other]
    intents.done(one)
    intents.done(one)
    assert list(DecommissionIntents(tmp_path).open()) == [other]


def test_a_torn_draft_is_no_intent(tmp_path: Path) -> None:
    """A file has its name only when it is whole."""
    intents = DecommissionIntents(tmp_path)
    intents.note(DecommissionIntent("bd", "bd-1", "unspecified", 1))
    (tmp_path / "ending" / "bd+bd-2.new").write_text("{")
    assert [each.name for each in intents.open()] == ["bd-1"]


def test_what_nobody_wrote_is_told_and_kept(tmp_path: Path) -> None:
    """Damage is for a person to look at; the others are not kept waiting by it."""
    intents = DecommissionIntents(tmp_path)
    intents.note(DecommissionIntent("bd", "bd-1", "unspecified", 1))
    other = DecommissionIntent("bd", "bd-2", "unspecified", 1)
    intents.note(other)
    (tmp_path / "ending" / "bd+bd-1.json").write_text("{}")
    found = intents.open()
    assert next(found) == other
    with pytest.raises(CAError, match=r"bd\+bd-1.json: not a decommission intent"):
        next(found)


def test_a_disk_that_refuses_is_an_error(tmp_path: Path) -> None:
    """Nothing is begun that was not written down."""
    (tmp_path / "ending").write_text("a file where the folder should be")
    with pytest.raises(CAError, match="cannot be written"):
        DecommissionIntents(tmp_path).note(DecommissionIntent("bd", "bd-1", "unspecified", 1))
