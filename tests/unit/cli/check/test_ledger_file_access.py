"""A ledger that `serve` could not keep is told by `check`."""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from cli_runner import Run

from crewgate.cli.check.ledger_file_access import ledger_file_errors, replaced_ledger_errors
from crewgate.config import load
from crewgate.core.budget.ledger_mark import LedgerMark
from crewgate.ledger.factory import open_ledger
from crewgate.ledger.mark_file import write_mark
from crewgate.ledger.schema import VERSION

URL = "sqlite:state/ledger.db"


def about(fresh: Path, url: str) -> list[str]:
    """What is said of a ledger at this URL."""
    fresh.write_text(fresh.read_text().replace(URL, url))
    return list(ledger_file_errors(load(fresh)))


@pytest.mark.parametrize(
    "url", [URL, "sqlite:./state/../state/ledger.db", "sqlite:ledger.db", "postgresql:///budgets"]
)
def test_what_serve_makes_or_finds_is_no_problem(fresh: Path, url: str) -> None:
    """The state folder is made; a server's state is not looked at; nothing is made here."""
    before = sorted(fresh.parent.rglob("*"))
    assert about(fresh, url) == []
    assert sorted(fresh.parent.rglob("*")) == before


def test_the_state_folder_and_those_above_it_are_made(fresh: Path) -> None:
    """Also where the ledger lies above it."""
    fresh.write_text(fresh.read_text().replace('state = "state"', 'state = "var/lib/state"'))
    assert about(fresh, "sqlite:var/lib/ledger.db") == []
    assert about(fresh, URL) == []


def test_a_folder_that_is_not_there_is_a_problem(run: Run, fresh: Path) -> None:
    """So with three slashes, which elsewhere begin a path that is relative."""
    (problem,) = about(fresh, "sqlite:///crewgate-no-such/ledger.db")
    assert problem.startswith(
        "[ledger] url: /crewgate-no-such: no such folder; create it, or write"
    )
    result = run("check", "-c", fresh)
    assert result.exit_code == 2
    assert f"problem: {problem}" in result.stdout.splitlines()
    assert not Path("/crewgate-no-such").exists()


def test_a_folder_in_the_files_place_is_a_problem(fresh: Path) -> None:
    """And a file in the folder's."""
    (problem,) = about(fresh, "sqlite:certs")
    assert problem == f"[ledger] url: {fresh.parent / 'certs'}: a folder; name a file"


def test_a_file_in_the_folders_place_is_a_problem(fresh: Path) -> None:
    """It is no folder, whatever it is."""
    (problem,) = about(fresh, "sqlite:certs/ca.pem/ledger.db")
    assert "certs/ca.pem: no such folder" in problem


@pytest.mark.parametrize("closed", ["state", "state/ledger.db", "."])
def test_what_this_user_may_not_write_is_a_problem(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, closed: str
) -> None:
    """The folder, the file, or where the folder is to be made."""
    if closed == ".":
        shutil.rmtree(fresh.parent / "state")
    else:
        (fresh.parent / "state" / "ledger.db").touch()
    place = (fresh.parent / closed).resolve()
    # The tests may run as root, who may write anywhere.
    monkeypatch.setattr(os, "access", lambda path, _: path != place)
    (problem,) = about(fresh, URL)
    assert problem.startswith(f"[ledger] url: {place}: this user may not ")


def test_a_ledger_that_serve_refuses_is_a_problem(run: Run, fresh: Path) -> None:
    """Lost, older than this machine knows, or another one, until a person accepts it."""
    config = load(fresh)
    file = config.ledger.file
    assert file is not None
    config.state.mkdir(exist_ok=True)
    known = open_ledger(config.ledger)
    write_mark(config.state, LedgerMark(known.identity, "one"))
    known.session.close()
    assert list(replaced_ledger_errors(config)) == []
    write_mark(config.state, LedgerMark(known.identity, "one", count=3))
    (older,) = replaced_ledger_errors(config)
    assert "it is an older copy: it lacks the last 3 of 3 operations" in older
    file.unlink()
    (lost,) = replaced_ledger_errors(config)
    assert lost.startswith(f"ledger {config.ledger}: there is no ledger, but this machine has")
    assert not file.exists()
    result = run("check", "-c", fresh)
    assert result.exit_code == 2
    assert f"problem: {lost}" in result.stdout.splitlines()
    open_ledger(config.ledger).session.close()
    (other,) = replaced_ledger_errors(config)
    assert "it is another ledger" in other
    file.unlink()
    accepted = run("ledger", "accept", "-c", fresh)
    assert accepted.exit_code == 0
    assert accepted.stderr == (
        f"Accepted: there was no ledger {config.ledger}, and this command has made an empty one. "
        "Every budget begins again. Start `crewgate serve`.\n"
    )
    assert list(replaced_ledger_errors(config)) == []


def test_a_ledger_that_this_version_cannot_read_is_a_problem(fresh: Path) -> None:
    """Also before the first start, when the machine knows no ledger yet."""
    config = load(fresh)
    file = config.ledger.file
    assert file is not None
    config.state.mkdir(exist_ok=True)
    open_ledger(config.ledger).session.close()
    assert list(replaced_ledger_errors(config)) == []
    with closing(sqlite3.connect(file)) as later:
        later.execute("INSERT INTO migration VALUES (?, '')", (VERSION + 1,))
        later.commit()
    (newer,) = replaced_ledger_errors(config)
    assert f"{file}>: its tables are of version {VERSION + 1}" in newer
    for path in file.parent.glob("ledger.db*"):
        path.unlink()
    file.write_text("no ledger" * 1000)
    (damaged,) = replaced_ledger_errors(config)
    assert damaged.startswith(f"{file}: the file is no ledger, or is damaged")
