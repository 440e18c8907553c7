"""The search for lines finds what a slow one finds, wherever pieces of the file end."""

import os
from pathlib import Path
from random import Random

import pytest
from search_depth import deep

from crewgate import limits
from crewgate.audit.replay import line_search


@pytest.fixture
def pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces and lines so small that a short file has many."""
    monkeypatch.setattr(line_search, "_PIECE", 7)
    monkeypatch.setattr(limits, "what_if_line_bytes_max", 20)


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize("seed", range(deep(30)))
def test_it_finds_what_a_slow_search_finds(seed: int, tmp_path: Path) -> None:
    random = Random(seed)
    path = tmp_path / "file"
    for _ in range(20):
        data = bytes(random.choices(b"ab\n", [5, 2, 2], k=random.randrange(200)))
        path.write_bytes(data)
        texts = random.sample([b"ab", b"b", b"aab", b"bba", b"abab"], k=random.randrange(1, 4))
        at, expected = 0, []
        for line in data.splitlines(keepends=True):
            is_whole = line.endswith(b"\n") and len(line) <= 21
            if is_whole and any(text in line for text in texts):
                expected.append((at, line[:-1]))
            at += len(line)
        assert [*line_search.find(path, texts)] == expected


def test_what_is_no_file_has_no_lines(tmp_path: Path) -> None:
    """A pipe would hold the reader, and a link may lead anywhere."""
    (tmp_path / "target").write_text("ab\n")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe", "gone"):
        assert [*line_search.find(tmp_path / name, [b"ab"])] == []
    assert [*line_search.find(tmp_path / "target", [b"ab"])] == [(0, b"ab")]
