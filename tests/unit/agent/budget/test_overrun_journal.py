"""Notes of overruns: over restarts, of one table's life, within a bound and a day."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from grant_builders import NOW, key

from crewgate import limits
from crewgate.agent.budget.overrun_journal import OverrunJournal, OverrunRecord
from crewgate.agent.journal_file import JournalFile
from crewgate.core.budget.ledger_protocol import LeaseUsage

LIFE = b"life" * 4
WALL = int(NOW)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[JournalFile[OverrunRecord]]:
    journal = JournalFile(tmp_path / "overruns", OverrunRecord)
    yield journal
    journal.close()


def call(number: int) -> bytes:
    """The id of a numbered call."""
    return number.to_bytes(16, "big")


def begun(journal: JournalFile[OverrunRecord], life: bytes = LIFE) -> OverrunJournal:
    notes = OverrunJournal(journal, life)
    notes.restore()
    return notes


def test_what_was_noted_is_known_to_the_next_agent(
    journal: JournalFile[OverrunRecord],
) -> None:
    """By the call, also where the table is another: but its leases are not this one's."""
    notes = begun(journal)
    notes.add(call(1), key(1), 5, WALL)
    notes.add(call(2), key(1), 6, WALL)
    notes.add(call(3), key(2), 7, WALL)
    again = begun(journal)
    assert [call(number) in again for number in range(1, 5)] == [True, True, True, False]
    assert again.missing({}) == {key(1): 11, key(2): 7}
    assert again.missing({key(1): LeaseUsage(overrun=5), key(2): LeaseUsage(overrun=7)}) == {
        key(1): 6
    }
    assert again.amounts() == {key(1): 11, key(2): 7}
    other = begun(journal, bytes(16))
    assert call(1) in other
    assert other.missing({}) == {}
    assert other.amounts() == {key(1): 11, key(2): 7}


def test_notes_are_kept_for_a_day_and_so_many(
    journal: JournalFile[OverrunRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest go first."""
    monkeypatch.setattr(limits, "overruns_noted_max", 3)
    notes = begun(journal)
    for number in range(5):
        notes.add(call(number), key(number), 1, WALL + number)
    assert [call(number) in notes for number in range(5)] == [False, False, True, True, True]
    kept = limits.revocation_seconds + limits.clock_distrust_seconds
    notes.tidy(WALL + 2 + kept)
    assert len(notes) == 3
    notes.tidy(WALL + 4 + kept)
    assert [note.id for note in notes] == [call(4).hex()]
    notes.tidy(WALL + 5 + kept)
    notes.tidy(WALL + 5 + kept)
    assert len(notes) == 0
