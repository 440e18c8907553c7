"""`crewgate crew`: keys and a section that a configuration takes as they are."""

import stat
from pathlib import Path

import pytest
from cli_runner import Run

from crewgate.config import load
from crewgate.core.actors import RESERVED_CREW_NAMES
from crewgate.policy.loader import load_policy


def test_the_section_is_taken_as_it_is(run: Run, fresh: Path) -> None:
    """Appended, the configuration loads, with a key that only its owner can read."""
    answer = run("crew", "-c", str(fresh), "bd", "--tools", "finance.*", "--tools", "search.web")
    assert answer.exit_code == 0
    fresh.write_text(fresh.read_text() + answer.stdout)
    crew = load(fresh).crew("bd")
    assert crew.tools == ("finance.*", "search.web")
    assert [key.crew for key in load_policy(load(fresh), 1).keys] == ["article", "bd"]
    assert crew.signing_key is not None
    assert stat.S_IMODE(crew.signing_key.stat().st_mode) == 0o600
    assert stat.S_IMODE(crew.signing_key.parent.stat().st_mode) == 0o700


def test_nothing_is_overwritten(run: Run, fresh: Path) -> None:
    """A second time is an error, and the key stays."""
    run("crew", "-c", str(fresh), "bd", "--tools", "x.*")
    before = (fresh.parent / "crews" / "bd" / "signing.key").read_bytes()
    answer = run("crew", "-c", str(fresh), "bd", "--tools", "x.*")
    assert answer.exit_code == 2
    assert "nothing is overwritten" in answer.stderr
    assert (fresh.parent / "crews" / "bd" / "signing.key").read_bytes() == before


@pytest.mark.parametrize("name", sorted(RESERVED_CREW_NAMES))
def test_no_crew_looks_like_a_person_in_the_audit(run: Run, fresh: Path, name: str) -> None:
    answer = run("crew", "-c", str(fresh), name, "--tools", "x.*")
    assert answer.exit_code == 2
    assert f"the audit would show its orchestrators as {name}/NAME" in answer.stderr
    assert not (fresh.parent / "crews" / name).exists()


@pytest.mark.parametrize(("name", "tools"), [("B/d", "x.*"), ("../bd", "x.*"), ("bd", "x*y")])
def test_what_no_crew_is_called(run: Run, fresh: Path, name: str, tools: str) -> None:
    """One line that says what is expected, and nothing is written."""
    answer = run("crew", "-c", str(fresh), name, "--tools", tools)
    assert answer.exit_code == 2
    assert "expected a name of at most" in answer.stderr
    assert not (fresh.parent / "crews" / "bd").exists()
