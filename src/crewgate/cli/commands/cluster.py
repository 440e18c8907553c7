"""`crewgate cluster`: the machines of a trust domain, as the running gateway here knows them."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crewgate.cli.options import Subcommands, config_option, json_option, state_of
from crewgate.cli.output.cluster import ago, as_document, show_members, status_lines
from crewgate.cli.output.revocation import print_receipt, reached, receipt_document

if TYPE_CHECKING:
    from crewgate.ipc.cluster_messages import EvictUntil

_NEVER = ("type", "id")  # the link's own


@click.group("cluster", cls=Subcommands)
def command() -> None:
    """Show the machines, evict one for good, change their keys."""


@command.command("members")
@config_option
@json_option
def members(*, config_path: Path, as_json: bool) -> None:
    """Show the machines, this one first.

    Of each: where it is, whether it answers (alive; suspect; dead, also if it never did; left, as
    it was stopped), whether it counts when a majority is asked, and how long ago all that it knows
    was compared with what this one knows.
    """
    from crewgate.ipc.admin_client import AdminClient

    with AdminClient(state_of(config_path)) as owner:
        rows = owner.members()
    if as_json:
        click.echo(json.dumps({"members": [as_document(row) for row in rows]}))
    else:
        show_members(rows)


@command.command("status")
@config_option
@json_option
@click.pass_context
def status(ctx: click.Context, *, config_path: Path, as_json: bool) -> None:
    """Say whether this machine is in touch, and may admit.

    It is once it has compared what it knows with a majority of the members, within the time that
    [cluster] gives. Exit status 0 if so, 1 if not.
    """
    import msgspec

    from crewgate.ipc.admin_client import AdminClient

    with AdminClient(state_of(config_path)) as owner:
        told = owner.cluster()
    if as_json:
        document = msgspec.to_builtins(told)
        click.echo(json.dumps({k: v for k, v in document.items() if k not in _NEVER}))
    else:
        click.echo("\n".join(status_lines(told)))
    ctx.exit(1 if told.waiting_for else 0)


@command.command("evict")
@config_option
@click.argument("name", metavar="NAME|ID")
@click.option(
    "--until",
    type=click.Choice(["local", "quorum"]),
    callback=lambda _context, _option, value: value or "",
    show_default="quorum",
    help="Wait until it is on the disk of this machine, or of a majority.",
)
@click.option(
    "--force",
    is_flag=True,
    help="Ask no majority, where none is left; on each machine that remains.",
)
@json_option
def evict(*, config_path: Path, name: str, until: "EvictUntil", force: bool, as_json: bool) -> None:
    """Evict a machine for good, wherever it is.

    NAME is as `crewgate cluster members` shows it. All certificates that it has are revoked, and no
    majority waits for it any more; if it still runs, it refuses calls once it is out of touch. It
    comes back with a new certificate alone. Exit status 3: fewer than --until asks for have it on
    disk so far, and go on being told.

    ID is shown in the place of a name where this machine has no certificate of a member, because
    its disk has lost it. Such a member is evicted here alone: do it on each machine that shows
    the ID.

    --force is for machines that will never come back, when too few are left to agree: a revocation
    that only they had is lost. The machines that remain do not ask one another: run it on each.
    """
    from crewgate.ipc.admin_client import AdminClient

    with AdminClient(state_of(config_path)) as owner:
        receipt = owner.evict(name, until, force=force)
    line = f"{name} is evicted: its certificates are revoked, and the others have a new key"
    is_nameless = not receipt.targets  # nothing that the others could be told of
    if is_nameless:
        line = (
            f"{name} does not count here any more; its certificate is not here, so no other "
            "machine could be told: run the same on each that shows it"
        )
    elif force:
        line += "\nit does not count here any more; run the same on each machine that remains"
    found = receipt_document(receipt) | {"nameless": is_nameless}
    found |= found.pop("reach")
    print_receipt(receipt, [line, *reached(receipt.reach)], found if as_json else None)


@command.group("keys", cls=Subcommands)
def keys() -> None:
    """Change the keys that datagrams between machines are sealed with."""


@keys.command("rotate")
@config_option
@click.option("--revoke-old", is_flag=True, help="End all earlier keys at once: one has leaked.")
@json_option
def rotate(*, config_path: Path, revoke_old: bool, as_json: bool) -> None:
    """Make another key for the datagrams of all machines now.

    They make one every hour by themselves, and one whenever a machine is evicted.
    """
    from crewgate.ipc.admin_client import AdminClient

    with AdminClient(state_of(config_path)) as owner:
        done = owner.rotate_keys(revoke_old=revoke_old)
    if as_json:
        click.echo(json.dumps({"keys": done.keys, "used_after_seconds": done.used_after_seconds}))
    elif revoke_old:
        click.echo("a new key is in use; those before it end")
    else:
        click.echo(f"a new key is made; all use it in {ago(done.used_after_seconds)}")
