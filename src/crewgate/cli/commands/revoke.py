"""`crewgate revoke`: one branch and all below it, or tokens by what they name, with a receipt."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from crewgate.cli.options import json_option, state_of, until_option
from crewgate.cli.output.revocation import show
from crewgate.cli.remote.option import with_remote

if TYPE_CHECKING:
    from crewgate.ipc.admin_messages import Target, Until


class Revocable(NamedTuple):
    """What is to be revoked, as the options of the command name it."""

    branch: str | None
    grant: str | None
    process: str | None
    every_token_of: str | None
    crew: str

    def target(self) -> "tuple[Target, str]":
        """The one thing that is named; a usage error if it is none, several or unreadable."""
        from crewgate.core.ids import uuid_bytes
        from crewgate.core.tokens.claims import is_text

        named: tuple[tuple[Target, str | None], ...] = (
            ("branch", self.branch),
            ("grant", self.grant),
            ("process", self.process),
            ("crew", self.every_token_of),
        )
        given = [(target, name) for target, name in named if name is not None]
        if len(given) != 1:
            raise click.UsageError(
                "name one of BRANCH, --grant JTI, --process ID and --every-token-of CREW"
            )
        ((target, name),) = given
        # Nothing that is wrong is shown: it may be a token.
        if target in {"grant", "process"} and not is_text(name):
            raise click.UsageError(
                f"--{target}: that is none; expected what a token says, as `crewgate inspect`, "
                "`tree` and `audit` show it"
            )
        if target == "branch":
            try:
                uuid_bytes(name)
            except ValueError as error:
                raise click.UsageError(
                    "BRANCH: that is no id; expected a UUID in lower case, as `crewgate tree` and "
                    "`audit` show it, or of a token `inspect`"
                ) from error
        if target == "crew" and not name:
            raise click.UsageError("--every-token-of: name a crew")
        if target == "crew" and self.crew:
            raise click.UsageError("--crew is for BRANCH, --grant and --process alone")
        return target, name


@click.command("revoke")
@with_remote("revoke")
@click.argument("branch", required=False)
@click.option("--grant", metavar="JTI", help="This one token, for good; with --crew.")
@click.option("--process", metavar="ID", help="All tokens of a process; with --crew.")
@click.option("--every-token-of", metavar="CREW", help="All tokens of a whole crew.")
@click.option("--crew", metavar="CREW", default="", help="Whose; known of a branch seen here.")
@until_option
@json_option
def command(
    *,
    config_path: Path,
    branch: str | None,
    grant: str | None,
    process: str | None,
    every_token_of: str | None,
    crew: str,
    until: "Until",
    as_json: bool,
) -> None:
    """End a branch and all that it spawned, at once.

    BRANCH is the id that `crewgate tree` shows. There is no way back. It ends on all machines; exit
    status 3: fewer than --until asks for have it on disk so far, and go on being told. Exit status
    4: it is revoked, and no machine that answered has ever seen it, so it may be mistyped; the last
    line says how many did.

    Without BRANCH: --grant ends one token and leaves its branch alive, --process and
    --every-token-of end those that are dated until 5 s from now. Later tokens are admitted.
    """
    from crewgate.ipc.admin_client import AdminClient

    target, name = Revocable(branch, grant, process, every_token_of, crew).target()
    with AdminClient(state_of(config_path)) as owner:
        receipt = owner.revoke(name, crew, until, target=target)
    show(receipt, as_json=as_json)
