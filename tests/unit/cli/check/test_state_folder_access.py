"""A state folder that `serve` could not use is told by `check`."""

from pathlib import Path

import pytest
from cli_runner import Run

STATE, LEDGER = 'state = "state"', "sqlite:state/ledger.db"


def problems(run: Run, fresh: Path, state: str, ledger: str = LEDGER) -> list[str]:
    """What `check` says of a state folder at this path, and of the ledger."""
    text = fresh.read_text().replace(STATE, f'state = "{state}"').replace(LEDGER, ledger)
    fresh.write_text(text)
    found: list[str] = run("check", "-c", fresh).stdout.splitlines()
    return [line.removeprefix("problem: ") for line in found if line.startswith("problem: ")]


@pytest.mark.parametrize("state", ["state", "var/lib/crewgate"])
def test_what_serve_makes_or_finds_is_no_problem(run: Run, fresh: Path, state: str) -> None:
    """The attempt leaves nothing behind."""
    before = sorted(fresh.parent.rglob("*"))
    assert problems(run, fresh, state, "sqlite:ledger.db") == []
    assert sorted(fresh.parent.rglob("*")) == before


def test_a_folder_that_nobody_can_make_is_a_problem(run: Run, fresh: Path) -> None:
    """Even root makes nothing in /proc."""
    (problem,) = problems(run, fresh, "/proc/x")
    assert problem.startswith("state: /proc/x: this user cannot create this folder (")
    assert run("check", "-c", fresh).exit_code == 2


def test_a_ledger_in_the_folder_is_not_a_second_problem(run: Run, fresh: Path) -> None:
    """One elsewhere is."""
    assert len(problems(run, fresh, "certs/ca.pem/state", "sqlite:certs/ca.pem/state/l.db")) == 1
    elsewhere = fresh.read_text().replace("sqlite:certs/ca.pem/state/l.db", "sqlite:/proc/y/l.db")
    fresh.write_text(elsewhere)
    assert len(problems(run, fresh, "state")) == 2


def test_a_file_in_the_folders_place_is_a_problem(run: Run, fresh: Path) -> None:
    """Nothing can be written into it."""
    (problem,) = problems(run, fresh, "certs/ca.pem")
    assert f"{fresh.parent}/certs/ca.pem: this user cannot write to this folder (Not a" in problem
