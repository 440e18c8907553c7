"""`crewgate cluster`: shows and evicts machines of the trust domain, through the gateway here."""

import json
from pathlib import Path

import click
import msgspec

from crewgate.cli.options import (
    UntruncatedHelpGroup,
    config_option,
    json_option,
    print_result,
    state_of,
)
from crewgate.cli.output.cluster import ago, as_document, show_members, status_lines
from crewgate.cli.output.revocation import print_receipt, receipt_document
from crewgate.ipc.admin_client import AdminClient
from crewgate.ipc.cluster_messages import EvictUntil
from crewgate.ipc.receipt_text import reach_lines

# The admin socket's own fields, which no output shows.
_HIDDEN = ("type", "id")


@click.group("cluster", cls=UntruncatedHelpGroup)
def command() -> None:
    """Show the machines of the cluster, evict one for good, rotate their keys."""


@command.command("members")
@config_option
@json_option
def members(*, config_path: Path, as_json: bool) -> None:
    """List the machines, this one first.

    For each machine you see its address, its state, whether it counts for a majority, and how long
    ago this machine compared everything with it. A state is alive, suspect, dead (also if the
    machine never answered), or left (somebody stopped the machine).
    """
    with AdminClient(state_of(config_path)) as admin:
        rows = admin.members()
    if as_json:
        click.echo(json.dumps({"members": [as_document(row) for row in rows]}))
    else:
        show_members(rows)


@command.command("status")
@config_option
@json_option
@click.pass_context
def status(ctx: click.Context, *, config_path: Path, as_json: bool) -> None:
    """Show whether this machine is in sync with the others, so that it may accept calls.

    It is in sync if it has compared everything with a majority of the members within
    max_staleness_seconds of [cluster]. Exit status 0 if so, 1 if not.
    """
    with AdminClient(state_of(config_path)) as admin:
        found = admin.cluster()
    document = {k: v for k, v in msgspec.to_builtins(found).items() if k not in _HIDDEN}
    print_result(document, "\n".join(status_lines(found)), as_json=as_json)
    ctx.exit(1 if found.waiting_for else 0)


@command.command("evict")
@config_option
@click.argument("name", metavar="NAME|ID")
@click.option(
    "--until",
    type=click.Choice(["local", "quorum"]),
    callback=lambda _context, _option, value: value or "",
    show_default="quorum",
    help="Wait until this machine, or a majority, has it on disk.",
)
@click.option(
    "--force",
    is_flag=True,
    help="Do not require a majority; run this on every remaining machine.",
)
@json_option
def evict(*, config_path: Path, name: str, until: EvictUntil, force: bool, as_json: bool) -> None:
    """Evict a machine for good, whether it runs or not.

    NAME is the machine as `crewgate cluster members` shows it. Crewgate revokes all certificates of
    the machine, and no majority waits for it any more. If it still runs, it refuses calls once it
    is out of sync. It can rejoin only with a new certificate. Exit status 3: fewer machines than
    --until asks for have this on disk so far; this machine keeps sending it.

    If this machine has lost the certificate of a member, because its disk was lost, `members` shows
    an ID instead of a name. The command evicts such a member on this machine only: run it on each
    machine that shows the ID.

    --force is for machines that will never come back, when too few are left for a majority. A
    revocation that only they had is lost. The remaining machines do not ask each other: run the
    command on each of them.
    """
    with AdminClient(state_of(config_path)) as admin:
        receipt = admin.evict(name, until, force=force)
    line = f"{name} is evicted: its certificates are revoked, and the others have a new key"
    # Without a certificate there is nothing to revoke, so the other machines learn nothing.
    is_nameless = not receipt.targets
    if is_nameless:
        line = (
            f"{name} no longer counts here; its certificate is not here, so the other machines do "
            "not know: run the command on each machine that shows it"
        )
    elif force:
        line += "\nit no longer counts here; run the command on each remaining machine"
    found = receipt_document(receipt) | {"nameless": is_nameless}
    found |= found.pop("reach")
    print_receipt(receipt, [line, *reach_lines(receipt.reach)], found if as_json else None)


@command.group("keys", cls=UntruncatedHelpGroup)
def keys() -> None:
    """Rotate the keys that encrypt datagrams between machines."""


@keys.command("rotate")
@config_option
@click.option(
    "--revoke-old", is_flag=True, help="Revoke all earlier keys at once, if one has leaked."
)
@json_option
def rotate(*, config_path: Path, revoke_old: bool, as_json: bool) -> None:
    """Create a new key for the datagrams of all machines now.

    The machines create one every hour by themselves, and one whenever a machine is evicted.
    """
    with AdminClient(state_of(config_path)) as admin:
        done = admin.rotate_keys(revoke_old=revoke_old)
    text = f"a new key exists; all machines use it in {ago(done.used_after_seconds)}"
    if revoke_old:
        text = "a new key is in use; all earlier keys are revoked"
    document = {"keys": done.keys, "used_after_seconds": done.used_after_seconds}
    print_result(document, text, as_json=as_json)
