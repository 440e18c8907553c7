"""What `crewgate revoke` is asked to end: one thing, named, and nothing by accident."""

from pathlib import Path

import pytest
from cli_runner import Run

from crewgate.cli.commands.revoke import command, target_of
from crewgate.core.ids import EntityKind
from crewgate.core.revocation_kinds import KINDS, RevocationTarget

BRANCH = "0199c1d2-0000-7000-8000-000000000002"
ONE = "name one of BRANCH, --grant, --process"


@pytest.mark.parametrize(
    ("option", "kind", "name", "crew"),
    [
        ("branch", EntityKind.BRANCH, BRANCH, ""),
        ("grant", EntityKind.GRANT, "g-1", "article"),
        ("process", EntityKind.PROCESS, "pid_7", "article"),
        ("all_tokens_of", EntityKind.CREW, "article", ""),
        ("subject", EntityKind.SUBJECT, "user_414", ""),
    ],
)
def test_each_option_names_its_kind(option: str, kind: EntityKind, name: str, crew: str) -> None:
    """As the agent is asked for it."""
    fields = ("branch", "grant", "process", "all_tokens_of", "subject")
    named = dict.fromkeys(fields) | {option: name}
    assert target_of(named, crew) == RevocationTarget(kind, name, crew)


def test_the_command_has_every_kind_of_a_configured_crew() -> None:
    """And of others, which the CA revokes, none."""
    options = {each.name for each in command.params}
    for rules in KINDS.values():
        assert (rules.request_field in options) is rules.of_configured_crew


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), ONE),
        (("--crew", "article"), ONE),
        ((BRANCH, "--all-tokens-of", "article"), ONE),
        (("--grant", "g", "--process", "p"), ONE),
        (
            ("--all-tokens-of", "article", "--crew", "article"),
            "--crew is not for --all-tokens-of, which names a crew itself",
        ),
        (("--every-token", "article"), "No such option"),
        (("--grant", "eyJh.secret.x y"), "--grant: not a valid grant"),
        (("--grant", "eyJh.secret." + 200 * "x"), "--grant: not a valid grant"),
        (("--process", ""), "--process: not a valid process"),
        (("--subject", "eyJh secret"), "--subject: not a valid subject"),
        (("--all-tokens-of", ""), "--all-tokens-of: not a valid crew"),
        (("",), "BRANCH: not a valid branch"),
        ((BRANCH.upper().replace("A", "B"),), "BRANCH: not a valid branch"),
        (("eyJh.secret." + 800 * "x",), "BRANCH: not a valid branch"),
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
