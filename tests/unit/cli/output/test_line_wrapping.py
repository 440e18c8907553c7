"""Lines for a terminal break between words; a pipe or a file gets whole lines."""

import fcntl
import os
import struct
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_runner import Run

from crewgate.cli.output import line_wrapping
from crewgate.cli.output.line_wrapping import between_words, terminal_columns


def test_a_terminal_cuts_no_word() -> None:
    """A file gets whole lines."""
    line = f"revoked {'b' * 36} of crew article and all below it: no call was open at the gateway"
    found = between_words([line, "on the disks of 3 of 3 machines"], 80)
    assert found == [
        f"revoked {'b' * 36} of crew article and all below it:",
        "no call was open at the gateway",
        "on the disks of 3 of 3 machines",
    ]
    assert between_words([line], 0) == [line]


def test_what_a_person_copies_stays_whole() -> None:
    """A command in backquotes, and a long path; further parts of a line are indented."""
    path = "/" + "x" * 30
    assert between_words([f"a: {path}: type `crewgate check -c file` now"], 24, "  ") == [
        "a:",
        f"  {path}:",
        "  type",
        "  `crewgate check -c file`",
        "  now",
    ]


@pytest.fixture
def terminal() -> Iterator[int]:
    """The file descriptor of a terminal of 72 columns."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 72, 0, 0))
    yield slave
    os.close(master)
    os.close(slave)


def test_each_stream_has_its_own_width(
    terminal: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Often one of the two is a pipe."""
    with (tmp_path / "log").open("w") as file, os.fdopen(os.dup(terminal), "w") as screen:
        monkeypatch.setattr(sys, "stdout", file)
        monkeypatch.setattr(sys, "stderr", screen)
        assert (terminal_columns(), terminal_columns(err=True)) == (0, 72)


def test_problems_and_warnings_are_wrapped(
    run: Run, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of `check` on standard output, and those of any command on standard error."""
    fresh.write_text(fresh.read_text() + "[ui]\nport = 8470\n" + 'url = "http://localhost:8470"\n')
    whole, mistaken = run("check", "-c", fresh), run("check", "-c", fresh.with_name("none.toml"))
    monkeypatch.setattr(line_wrapping, "terminal_columns", lambda *, err=False: 60)
    parts = run("check", "-c", fresh)
    assert "warning: [ui]: nobody can log in" in parts.stdout
    assert parts.stdout.split() == whole.stdout.split()
    assert len(parts.stdout.splitlines()) > len(whole.stdout.splitlines())
    told = run("check", "-c", fresh.with_name("none.toml"))
    assert told.stderr.split() == mistaken.stderr.split()
    assert len(mistaken.stderr.splitlines()) == 1 < len(told.stderr.splitlines())
    for line in (parts.stdout + told.stderr).splitlines():
        assert len(line) <= 60 or len(line.split()) == 1
