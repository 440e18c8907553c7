"""`crewgate decommission` without a gateway: what it revokes and what it says."""

import json
from pathlib import Path

import pytest
from cli_runner import Run
from orchestrator_certificates import ONE, issue

from crewgate import limits
from crewgate.config import load


@pytest.fixture(autouse=True)
def _in_no_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """No agent comes back here."""
    monkeypatch.setattr(limits, "run_announce_seconds", 0.0)


def test_what_a_name_has_is_revoked(fresh: Path, run: Run) -> None:
    """Also without a process and without a gateway, which is told when there is one."""
    serial = issue(load(fresh), ONE)
    result = run("decommission", "-c", fresh, "article/bd-1")
    assert result.exit_code == 0, result.output
    assert result.stdout == "ended article/bd-1: 1 certificate revoked; no gateway runs here\n"
    assert "the gateway has not applied it yet" in result.stderr
    row, gateway = json.loads(run("ca", "list", "-c", fresh, "--json").stdout)
    row, gateway = (row, gateway) if row["crew"] else (gateway, row)
    assert (gateway["role"], gateway["status"]) == ("gateway", "valid")
    assert (row["serial"], row["status"]) == (serial, "revoked")
    assert row["reason"] == "cessationOfOperation"


def test_a_name_that_was_ended_before_is_known(fresh: Path, run: Run) -> None:
    """Again, or after `crewgate run` has ended it: the register knows it."""
    issue(load(fresh), ONE)
    run("decommission", "-c", fresh, "article/bd-1")
    again = run("decommission", "-c", fresh, "article/bd-1")
    assert again.stdout == (
        "ended article/bd-1: it had no valid certificate; no gateway runs here\n"
    )


def test_for_scripts(fresh: Path, run: Run) -> None:
    """One document: what was revoked, and whether anybody was told."""
    issue(load(fresh), ONE)
    issue(load(fresh), ONE)
    found = json.loads(run("decommission", "-c", fresh, "article/bd-1", "--json").stdout)
    assert found["complaints"]
    del found["complaints"]
    assert found == {
        "orchestrator": "article/bd-1",
        "complete": True,
        "certificates": 2,
        "keys": [],
        "process": None,
        "announced": False,
    }


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("article", "expected CREW/NAME"),
        ("article/", "the name ''"),
        ("nobody/x", "no crew 'nobody'"),
        ("article/X", "the name 'X'"),
    ],
)
def test_bad_input_is_one_line(fresh: Path, run: Run, name: str, said: str) -> None:
    """Status 2, and nothing is intended."""
    result = run("decommission", "-c", fresh, name)
    assert result.exit_code == 2
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
