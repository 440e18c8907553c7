"""The journal: what was appended is there after a kill, and it does not grow for ever."""

import os
from pathlib import Path

import msgspec
import pytest

from crewgate import limits
from crewgate.agent.journal_file import JournalFile


class Line(msgspec.Struct, frozen=True):
    number: int


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the journal is."""
    return tmp_path / "journal"


def _journal(path: Path) -> JournalFile[Line]:
    return JournalFile(path, Line)


def test_lines_are_read_by_the_next_process(path: Path) -> None:
    """No close, no sync: a killed process has written what it appended."""
    journal = _journal(path)
    journal.rewrite([Line(1)])
    journal.append(Line(2))
    assert _journal(path).read() == [Line(1), Line(2)]
    assert path.stat().st_mode & 0o777 == 0o600
    journal.close()


def test_a_missing_file_is_empty(path: Path) -> None:
    """The first start has no journal."""
    assert _journal(path).read() == []


@pytest.mark.parametrize("tail", [b'{"numb', b"\xff\xfe\n", b'{"number":"x"}\n', b"\n\n", b"null"])
def test_damaged_lines_are_skipped(path: Path, tail: bytes) -> None:
    """A torn or foreign line costs itself only."""
    path.write_bytes(b'{"number":1}\n' + tail + b'\n{"number":2}\n')
    assert _journal(path).read() == [Line(1), Line(2)]


def test_it_is_due_when_most_of_it_is_outdated(path: Path) -> None:
    """Rewriting costs as much as what is live, so it waits until that is the smaller part."""
    journal = _journal(path)
    journal.rewrite([])
    for number in range(limits.journal_slack_lines + 2):
        assert not journal.is_due(1) or number > limits.journal_slack_lines
        journal.append(Line(number))
    assert not journal.is_due(1)
    journal.append(Line(0))
    assert journal.is_due(1)
    journal.close()


def test_lines_appended_while_it_is_rewritten_are_kept(path: Path) -> None:
    """Between `begin` and `finish` both files get them; a kill at any point loses none."""
    journal = _journal(path)
    journal.rewrite([Line(1), Line(1)])
    journal.begin()
    count = journal.write([Line(1)])
    journal.append(Line(2))
    assert _journal(path).read() == [Line(1), Line(1), Line(2)]
    assert not journal.is_due(0)
    journal.finish(count)
    journal.append(Line(3))
    assert _journal(path).read() == [Line(1), Line(2), Line(3)]
    journal.close()


def test_lines_that_were_synced_stay_so_when_the_file_is_replaced(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A revocation was acknowledged: the new file has it on disk before it takes the old's place.

    And a `sync` that runs in a thread meanwhile has one of the two files in its hand.
    """
    on_disk: dict[int, int] = {}

    def fsync(descriptor: int) -> None:
        status = os.fstat(descriptor)
        on_disk[status.st_ino] = status.st_size

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "fdatasync", fsync)
    journal = _journal(path)
    journal.rewrite([Line(1)])
    descriptor = journal._descriptor
    journal.begin()
    count = journal.write([Line(1)])
    journal.append(Line(2))
    journal.sync()
    journal.finish(count)
    assert on_disk[path.stat().st_ino] == path.stat().st_size
    assert os.path.samestat(os.fstat(descriptor), path.stat())
    journal.close()


def test_an_abandoned_rewriting_changes_nothing(path: Path) -> None:
    """If the new file cannot be written, the old one goes on."""
    journal = _journal(path)
    journal.rewrite([Line(1)])
    journal.begin()
    journal.abandon()
    journal.append(Line(2))
    assert _journal(path).read() == [Line(1), Line(2)]
    journal.close()


def test_a_full_disk_is_said_once_and_mended_by_rewriting(path: Path, log_lines: list[str]) -> None:
    """The agent goes on; the next rewriting makes the file whole."""
    journal = _journal(path)
    journal.rewrite([])
    with Path("/dev/full").open("wb", buffering=0) as full:
        os.dup2(full.fileno(), journal._descriptor)
    journal.append(Line(1))
    journal.append(Line(2))
    assert len(log_lines) == 1
    assert "No space left" in log_lines[0]
    assert journal.is_due(2)
    journal.rewrite([Line(1), Line(2)])
    assert not journal.is_due(2)
    assert _journal(path).read() == [Line(1), Line(2)]
    journal.close()
