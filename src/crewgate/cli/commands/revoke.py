"""`crewgate revoke`: revokes a branch and everything below it, or tokens, and prints a receipt."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import click
import msgspec

from crewgate.cli.branch_choice import ask, the_only
from crewgate.cli.options import (
    CREW_NAME,
    json_option,
    reason_option,
    state_of,
    until_option,
)
from crewgate.cli.output.revocation import show
from crewgate.cli.remote.option import with_remote
from crewgate.core import branch_reference
from crewgate.core.ids import EntityKind
from crewgate.core.revocation_kinds import BY_FIELD, RevocationTarget
from crewgate.errors import ServiceRefusedError
from crewgate.ipc.admin_client import AdminClient
from crewgate.ipc.admin_messages import Until


def target_of(named: Mapping[str, str | None], crew: str) -> RevocationTarget:
    """Return the target that the options name; `named` has their values by `request_field`.

    The name of a branch may be a reference (`core.branch_reference`). Raises click.UsageError if
    the options name no target, several, or one with a malformed name.
    """
    given = [(BY_FIELD[field], name) for field, name in named.items() if name is not None]
    if len(given) != 1:
        options = (_option(field) for field in BY_FIELD if field in named)
        raise click.UsageError(f"name one of {', '.join(options)}")
    ((rules, name),) = given
    option = _option(rules.request_field)
    try:
        if rules.kind is EntityKind.BRANCH:
            branch_reference.check(name)
        else:
            rules.identifier(name)
    except ValueError as error:
        # The message does not show the malformed text: it may be a token.
        raise click.UsageError(f"{option}: not a valid {rules.label}; {error}") from error
    if rules.kind is EntityKind.CREW and crew:
        raise click.UsageError(f"--crew is not for {option}, which names a crew itself")
    return RevocationTarget(rules.kind, name, crew)


def is_reference(target: RevocationTarget) -> bool:
    """Return whether a target is a branch whose whole id must be found first."""
    return target.kind is EntityKind.BRANCH and not branch_reference.is_whole_id(target.name)


def _option(field: str) -> str:
    return "BRANCH" if field == "branch" else f"--{field.replace('_', '-')}"


@click.command("revoke")
@with_remote("revoke")
@click.argument("branch", required=False)
@click.option("--grant", metavar="JTI", help="Revoke this one token; needs --crew.")
@click.option(
    "--process",
    metavar="ID",
    help="Revoke all tokens of this process (its whole name); needs --crew.",
)
@click.option(
    "--all-tokens-of", type=CREW_NAME, metavar="CREW", help="Revoke all tokens of a crew."
)
@click.option("--subject", metavar="TEXT", help="Revoke all runs of a person or other subject.")
@click.option(
    "--crew",
    type=CREW_NAME,
    metavar="CREW",
    default="",
    help="Crew; not needed for a branch that a machine has seen, or for --subject.",
)
@partial(reason_option, text="Why, for the audit; `crewgate revocations` shows it.")
@until_option
@json_option
def command(
    *,
    config_path: Path,
    crew: str,
    reason: str,
    until: Until,
    as_json: bool,
    **named: str | None,
) -> None:
    """Revoke a branch and everything below it, or single tokens.

    BRANCH is the id that `crewgate tree` shows, or the first characters of it, at least four; or
    CREW/ROLE, if only one live branch of the crew has this role. Any machine may have seen it; if
    this one has not, it asks the others. The revocation is in force at
    once, reaches all machines, and nobody can undo it. `crewgate revocations` lists it.

    Instead of BRANCH: --grant revokes one token, but not its branch. --process and --all-tokens-of
    revoke all tokens issued up to 5 s from now (the leeway between clocks); later tokens work.
    --subject revokes all tokens that name the subject in `sub`, also later ones, for a day: in all
    crews, or in the one that --crew names.

    Exit status 3: fewer machines than --until asks for have the revocation on disk so far; this
    machine keeps sending it. Exit status 4: the revocation is in force, but no machine that
    answered has ever seen the name; it may be mistyped.
    """
    target = target_of(named, crew)
    with AdminClient(state_of(config_path)) as admin:
        if is_reference(target):
            target = _found(admin, target)
        try:
            receipt = admin.revoke([target], until, reason=reason)
        except ServiceRefusedError as error:
            # Another machine may have seen the branch, and so know its crew.
            if target.kind is not EntityKind.BRANCH or target.crew:
                raise
            target = _found(admin, target, otherwise=error)
            receipt = admin.revoke([target], until, reason=reason)
    show(receipt, as_json=as_json)


def _found(
    admin: AdminClient, target: RevocationTarget, otherwise: ServiceRefusedError | None = None
) -> RevocationTarget:
    """Return the branch that a person means, of those that all machines have seen.

    If there is none, the error has the text of `otherwise`, that of this machine.
    """
    found = ask(admin, target.name, target.crew)
    if not found.rows and otherwise is not None:
        text = f"{otherwise}\nno other machine that answered has seen it"
        raise ServiceRefusedError(text) from otherwise
    row = the_only(target.name, found.rows, found.not_asked)
    return msgspec.structs.replace(target, name=row.branch, crew=row.crew)
