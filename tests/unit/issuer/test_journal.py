import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import tokens
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crewgate.core.tokens.claims import Claims
from crewgate.errors import JournalError
from crewgate.issuer.branches.branch_issuer import GrantChange
from crewgate.issuer.journal.extension_entries import extended
from crewgate.issuer.journal.journal_entries import (
    BranchRevoked,
    JournalEntry,
    MintRecord,
)
from crewgate.issuer.journal.mint_journal import MintJournal

CLAIMS = msgspec.convert(tokens.CLAIMS, Claims)
LATER = msgspec.structs.replace(
    CLAIMS,
    exp=CLAIMS.exp + 600,
    credit_quota=3_000_000,
    allowed_tools=["search.*", "embeddings.create", "search.web", "publish.post"],
)
ENTRIES: list[JournalEntry] = [
    MintRecord(1.5, CLAIMS, reason="spawned", overcommit=True),
    extended(CLAIMS, LATER, GrantChange(reason="expires"), None, 2.5),
    BranchRevoked(3.5, tokens.BRANCH, "article/article-1", reason="loops"),
]


def written(path: Path) -> list[JournalEntry]:
    """All entries of a journal, read by a new process's eyes."""
    journal = MintJournal(path)
    try:
        return list(journal.entries())
    finally:
        journal.close()


def write(path: Path) -> bytes:
    """The three entries in a new journal; its bytes."""
    journal = MintJournal(path)
    for entry in ENTRIES:
        journal.append(entry)
    journal.close()
    return path.read_bytes()


def test_entries_survive(tmp_path: Path) -> None:
    """What was appended is read back, in order; the file is its owner's alone."""
    path = tmp_path / "issuer/journal/mint_journal.jsonl"
    write(path)
    assert written(path) == ENTRIES
    assert path.stat().st_mode & 0o777 == 0o600


def test_lines_are_for_people_too(tmp_path: Path) -> None:
    """One JSON object a line: who, which branch, what grew and why."""
    lines = [json.loads(line) for line in write(tmp_path / "j").splitlines()]
    assert [line["event"] for line in lines] == ["mint", "extend", "revoke"]
    assert lines[0]["overcommit"] is True
    grew = {name: lines[1][name] for name in ("seconds", "credits", "tools", "why")}
    assert grew == {
        "seconds": 600,
        "credits": 500_000,
        "tools": ["publish.post"],
        "why": "expires",
    }
    assert lines[1]["claims"]["client_id"] == "article/article-1"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lost=st.integers(1, 400), garbage=st.binary(max_size=20).filter(lambda b: b"\n" not in b))
def test_a_torn_last_line_is_cut_off(tmp_path: Path, lost: int, garbage: bytes) -> None:
    """Whatever part of the last line a crash left, the lines before stay and the next one fits."""
    path = tmp_path / "journal"
    path.unlink(missing_ok=True)
    whole = write(path)
    last = len(whole.splitlines(keepends=True)[-1])
    path.write_bytes(whole[: -min(lost, last)] + garbage)
    journal = MintJournal(path)
    assert list(journal.entries()) == ENTRIES[:2]
    journal.append(ENTRIES[2])
    journal.close()
    assert path.read_bytes() == whole


def test_a_last_line_of_zeros_is_cut_off(tmp_path: Path) -> None:
    """A file system that had made the file longer, and not yet written it, leaves zeros."""
    path = tmp_path / "journal"
    whole = write(path)
    path.write_bytes(whole + bytes(700))
    assert written(path) == ENTRIES
    assert path.read_bytes() == whole


def test_a_last_line_with_zeros_is_cut_off(tmp_path: Path) -> None:
    """Nor does it write the pages of a line in their order, so the newline may be there."""
    path = tmp_path / "journal"
    whole = write(path)
    lines = whole.splitlines(keepends=True)
    for holes in (bytes(90) + lines[2][90:], lines[2][:50] + bytes(50) + lines[2][100:]):
        path.write_bytes(lines[0] + lines[1] + holes)
        assert written(path) == ENTRIES[:2]
        path.write_bytes(holes)
        assert written(path) == []


@pytest.mark.parametrize(
    "line", [b"buy milk\n", b"buy milk", b'{"a":1}', b"{}\n", b"\n", b"\x89P\0"]
)
def test_a_file_of_another_program_is_an_error(tmp_path: Path, line: bytes) -> None:
    """A path that names the wrong file costs nobody that file."""
    path = tmp_path / "notes.txt"
    path.write_bytes(line)
    with pytest.raises(JournalError, match="line 1 is damaged, or the file is not a journal"):
        written(path)
    assert path.read_bytes() == line


def test_a_damaged_whole_last_line_is_an_error(tmp_path: Path) -> None:
    """It may be a revocation, or the line of a newer version."""
    path = tmp_path / "journal"
    damaged = write(path).replace(b'"revoke"', b'"revise"')
    path.write_bytes(damaged)
    with pytest.raises(JournalError, match="line 3 is damaged"):
        written(path)
    assert path.read_bytes() == damaged


def test_damage_in_the_middle_is_an_error(tmp_path: Path) -> None:
    """A line that is lost may be a death; the error names it and the file stays as it is."""
    path = tmp_path / "journal"
    lines = write(path).splitlines(keepends=True)
    damaged = lines[0] + b"{}\n" + lines[2]
    path.write_bytes(damaged)
    with pytest.raises(JournalError, match="line 2 is damaged"):
        written(path)
    assert path.read_bytes() == damaged


def test_one_process_at_a_time(tmp_path: Path) -> None:
    """A second opening is refused while the first lives, and allowed after it is closed."""
    path = tmp_path / "journal"
    first = MintJournal(path)
    with pytest.raises(JournalError, match="another orchestrator, in this or another process, min"):
        MintJournal(path)
    first.close()
    MintJournal(path).close()


def test_a_killed_process_leaves_its_journal_usable(tmp_path: Path) -> None:
    """The lock dies with its holder, and what was appended before is there."""
    path = tmp_path / "journal"
    code = (
        "import os, sys, pathlib\n"
        "from crewgate.issuer.journal.mint_journal import *\n"
        "from crewgate.issuer.journal.journal_entries import *\n"
        "journal = MintJournal(pathlib.Path(sys.argv[1]))\n"
        f"journal.append(BranchRevoked(1.0, {tokens.BRANCH!r}, 'article/article-1'))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert done.returncode == -9
    assert written(path) == [BranchRevoked(1.0, tokens.BRANCH, "article/article-1")]


def failing(after: int, real: Callable[[int, bytes], int]) -> Callable[[int, bytes], int]:
    """A disk that takes `after` bytes and is full then."""

    def write_some(descriptor: int, data: bytes) -> int:
        nonlocal after
        if after <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        count = real(descriptor, data[:after])
        after -= count
        return count

    return write_some


def test_a_full_disk_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The append fails, the line is gone, and the journal goes on when there is room again."""
    path = tmp_path / "journal"
    journal = MintJournal(path)
    journal.append(ENTRIES[0])
    real = os.write
    monkeypatch.setattr(os, "write", failing(100, real))
    with pytest.raises(JournalError, match="nothing was minted: No space left on device; make"):
        journal.append(ENTRIES[1])
    monkeypatch.setattr(os, "write", real)
    journal.append(ENTRIES[2])
    journal.close()
    assert written(path) == [ENTRIES[0], ENTRIES[2]]


def test_a_line_that_cannot_be_undone_ends_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A half line would be glued to the next, so nothing more is appended by this process."""
    path = tmp_path / "journal"
    journal = MintJournal(path)
    journal.append(ENTRIES[0])

    def refuse(descriptor: int, size: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    real = os.write
    monkeypatch.setattr(os, "write", failing(100, real))
    monkeypatch.setattr(os, "ftruncate", refuse)
    with pytest.raises(JournalError, match="No space left"):
        journal.append(ENTRIES[1])
    monkeypatch.undo()
    with pytest.raises(JournalError, match="the incomplete line cannot be removed"):
        journal.append(ENTRIES[2])
    journal.close()
    assert written(path) == [ENTRIES[0]]


def test_a_fork_does_not_share_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes on one lock would not see each other's lines."""
    journal = MintJournal(tmp_path / "journal")
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(JournalError, match="another process opened the journal before it forked"):
        journal.append(ENTRIES[0])
    monkeypatch.undo()
    journal.close()
    with pytest.raises(JournalError, match="the orchestrator of this journal was closed; make an"):
        journal.append(ENTRIES[0])


def test_a_folder_in_its_place_is_an_error(tmp_path: Path) -> None:
    """Whatever keeps it from being opened is said with its path."""
    with pytest.raises(JournalError, match="cannot open the journal: Is a directory"):
        MintJournal(tmp_path)
