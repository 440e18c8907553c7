"""`crewgate revoke`: one branch and all below it, or tokens by what they name, with a receipt."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crewgate.cli.options import json_option, state_of, until_option
from crewgate.cli.output.revocation import show
from crewgate.cli.remote.option import with_remote

if TYPE_CHECKING:
    from crewgate.core.revocation_kinds import RevocationTarget
    from crewgate.ipc.admin_messages import Until


def target_of(named: Mapping[str, str | None], crew: str) -> "RevocationTarget":
    """What the options `named` by their `request_field` say.

    A usage error if that is nothing, several things, or a name that its kind cannot have.
    """
    from crewgate.core.ids import KeyKind
    from crewgate.core.revocation_kinds import BY_FIELD, RevocationTarget

    given = [(BY_FIELD[field], name) for field, name in named.items() if name is not None]
    if len(given) != 1:
        options = (_option(field) for field in BY_FIELD if field in named)
        raise click.UsageError(f"name one of {', '.join(options)}")
    ((rules, name),) = given
    option = _option(rules.request_field)
    try:
        rules.identifier(name)
    except ValueError as error:
        # Nothing that is wrong is shown: it may be a token.
        raise click.UsageError(f"{option}: that names no {rules.label}; {error}") from error
    if rules.kind is KeyKind.CREW and crew:
        raise click.UsageError(f"--crew says whose a name is, and {option} names a crew itself")
    return RevocationTarget(rules.kind, name, crew)


def _option(field: str) -> str:
    return "BRANCH" if field == "branch" else f"--{field.replace('_', '-')}"


@click.command("revoke")
@with_remote("revoke")
@click.argument("branch", required=False)
@click.option("--grant", metavar="JTI", help="This one token, for good; with --crew.")
@click.option("--process", metavar="ID", help="All tokens of a process; with --crew.")
@click.option("--all-tokens-of", metavar="CREW", help="All tokens of a whole crew.")
@click.option("--crew", metavar="CREW", default="", help="Whose; known of a branch seen here.")
@until_option
@json_option
def command(
    *, config_path: Path, crew: str, until: "Until", as_json: bool, **named: str | None
) -> None:
    """End a branch and all that it spawned, at once.

    BRANCH is the id that `crewgate tree` shows. There is no way back. It ends on all machines; exit
    status 3: fewer than --until asks for have it on disk so far, and go on being told. Exit status
    4: it is revoked, and no machine that answered has ever seen it, so it may be mistyped; the last
    line says how many did.

    Without BRANCH: --grant ends one token and leaves its branch alive, --process and
    --all-tokens-of end those that are dated until 5 s from now. Later tokens are admitted.
    """
    from crewgate.ipc.admin_client import AdminClient

    target = target_of(named, crew)
    with AdminClient(state_of(config_path)) as owner:
        receipt = owner.revoke([target], until)
    show(receipt, as_json=as_json)
