"""What `crewgate revoke` is asked to end: one thing, named, and nothing by accident."""

from pathlib import Path

import pytest
from cli_runner import Run

from crewgate.cli.commands.revoke import Revocable
from crewgate.ipc.admin_messages import Target

BRANCH = "0199c1d2-0000-7000-8000-000000000002"
ONE = "name one of BRANCH, --grant JTI, --process ID and --every-token-of CREW"


@pytest.mark.parametrize(
    ("given", "target"),
    [
        (Revocable(BRANCH, None, None, None, ""), ("branch", BRANCH)),
        (Revocable(None, "g-1", None, None, "article"), ("grant", "g-1")),
        (Revocable(None, None, "pid_7", None, "article"), ("process", "pid_7")),
        (Revocable(None, None, None, "article", ""), ("crew", "article")),
    ],
)
def test_each_option_names_its_kind(given: Revocable, target: tuple[Target, str]) -> None:
    """As the agent is asked for it."""
    assert given.target() == target


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), ONE),
        (("--crew", "article"), ONE),
        ((BRANCH, "--every-token-of", "article"), ONE),
        (("--grant", "g", "--process", "p"), ONE),
        (("--every-token-of", "article", "--crew", "article"), "--crew is for BRANCH"),
        (("--every-token", "article"), "No such option"),
        (("--grant", "eyJh.secret.x y"), "--grant: that is none"),
        (("--grant", "eyJh.secret." + 200 * "x"), "--grant: that is none"),
        (("--process", ""), "--process: that is none"),
        (("--every-token-of", ""), "--every-token-of: name a crew"),
        (("",), "BRANCH: that is no id"),
        ((BRANCH.upper().replace("A", "B"),), "BRANCH: that is no id"),
        (("eyJh.secret." + 800 * "x",), "BRANCH: that is no id"),
    ],
)
def test_what_is_not_plain_is_refused(
    run: Run, fresh: Path, arguments: tuple[str, ...], says: str
) -> None:
    """Before the agent is asked; a token in the wrong place is not repeated."""
    done = run("revoke", "-c", fresh, *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert says in done.stderr
    assert "secret" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
