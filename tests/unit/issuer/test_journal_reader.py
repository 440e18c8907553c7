"""A reader of a journal that another process writes."""

from pathlib import Path

import pytest
import tokens

from crewgate import limits
from crewgate.issuer.journal.journal_entries import BranchRevoked, encode
from crewgate.issuer.journal.journal_reader import JournalReader, UnreadableLine

FIRST = BranchRevoked(1.5, tokens.BRANCH, "article/article-1", "one")
SECOND = BranchRevoked(2.5, tokens.BRANCH, "article/article-1", "two")


def test_it_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """Each entry comes once, and only when its line is whole."""
    path = tmp_path / "journal.jsonl"
    reader = JournalReader(path)
    assert list(reader.read()) == []
    path.write_bytes(encode(FIRST) + encode(SECOND)[:-1])
    assert list(reader.read()) == [FIRST]
    path.write_bytes(encode(FIRST) + encode(SECOND))
    assert list(reader.read()) == [SECOND]
    assert list(reader.read()) == []


def test_a_damaged_last_line_may_be_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As the next writer does after a power loss; until then it is logged once."""
    path = tmp_path / "journal.jsonl"
    broken = b"\0" * 200 + encode(SECOND)[200:] + b"\n"
    path.write_bytes(encode(FIRST) + broken)
    reader = JournalReader(path)
    assert [*reader.entries(), *reader.entries()] == [FIRST]
    assert len(caplog.messages) == 1
    path.write_bytes(encode(FIRST) + encode(SECOND) + encode(FIRST))
    assert list(reader.entries()) == [SECOND, FIRST]


def test_a_damaged_line_in_the_middle_is_left_out(tmp_path: Path) -> None:
    """Also one that is too long for the memory of a reader."""
    path = tmp_path / "journal.jsonl"
    long = b"x" * (3 * limits.journal_line_bytes_max) + b"\n"
    path.write_bytes(encode(FIRST) + b"{}\n" + long + encode(SECOND))
    first, empty, too_long, second = JournalReader(path).read()
    assert (first, second) == (FIRST, SECOND)
    assert isinstance(empty, UnreadableLine)
    assert isinstance(too_long, UnreadableLine)
    assert (empty.line, too_long.line) == (2, 3)
    assert list(JournalReader(path, ["two"]).read()) == [SECOND]
