"""What a command may not read or write is one line: which path, why, and what to do."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cli_runner import Run

from crewgate.cli.commands.init import write_all

NOBODY = 65534


@contextmanager
def somebody_else() -> Iterator[None]:
    """A user who may read what is open to all, and no more."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def theirs() -> Iterator[Path]:
    """A configuration whose folders are closed; not below pytest's own, which is closed itself."""
    folder = Path(tempfile.mkdtemp())
    try:
        file = write_all(folder / "gateway", 8443)
        (folder / "gateway" / "state" / "audit").mkdir(mode=0o700)
        folder.chmod(0o755)
        for name in ("ca", "gateway", "state", "crews/article"):
            (folder / "gateway" / name).chmod(0 if os.geteuid() else 0o700)
        yield file
    finally:
        for path in folder.rglob("*"):
            if path.is_dir():
                path.chmod(0o700)
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    "command",
    [
        ["audit"],
        ["audit", "--connections"],
        ["ca", "list"],
        ["ca", "show", "AA"],
        ["ca", "revoke", "AA"],
        ["ca", "crl"],
        ["decommission", "article/x"],
        ["ledger", "reconcile"],
        ["crew", "bd", "--tools", "x.*"],
    ],
    ids=" ".join,
)
def test_a_folder_that_is_another_user_s(run: Run, theirs: Path, command: list[str]) -> None:
    """No traceback, and no number in brackets."""
    depth = 2 if command[0] in {"ca", "ledger"} else 1
    with somebody_else():
        result = run(*command[:depth], "-c", theirs, *command[depth:])
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith(f"crewgate: {theirs.parent}/"), line
    assert "Permission denied; give user" in line
    assert "Errno" not in line


def test_check_names_each_path_that_is_another_user_s(run: Run, theirs: Path) -> None:
    """It goes on after the first; no traceback, and no number in brackets."""
    run("check", "-c", theirs)  # has Python load what may be for this user alone
    with somebody_else():
        result = run("check", "-c", theirs)
    assert result.exit_code == 2, result.output
    assert "Errno" not in result.output
    state = f"problem: state: {theirs.parent}/state: this user cannot write to this folder ("
    assert [state in line for line in result.stdout.splitlines()].count(True) == 1
    for key in ("gateway/gateway", "gateway/machine", "gateway/signing", "crews/article/signing"):
        assert re.search(
            rf"^problem: .*{re.escape(str(theirs.parent / key))}\.key: .*Permission denied; give",
            result.stdout,
            re.MULTILINE,
        ), result.output


def test_a_further_machine_of_one_that_may_not_be_read(
    run: Run, theirs: Path, tmp_path: Path
) -> None:
    """Nor is the configuration itself."""
    theirs.chmod(0 if os.geteuid() else 0o600)
    with somebody_else():
        result = run("init", tmp_path / "next", "--from", theirs, "--budgets", "per-machine")
    assert result.exit_code == 2
    assert str(theirs) in result.stderr
    assert "Permission denied" in result.stderr


def test_an_error_that_no_command_foresaw_is_a_line_too(
    run: Run, theirs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its path, and what to do."""

    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28), "/somewhere/file")

    monkeypatch.setattr("crewgate.cli.commands.ca.load", full)
    result = run("ca", "list", "-c", theirs)
    assert result.exit_code == 2
    assert result.stderr.startswith("crewgate: /somewhere/file: No space left on device; make room")
