"""`crewgate quarantine`: no new grants of one orchestrator, on this machine, until it is lifted."""

import json
from pathlib import Path

import click

from crewgate.cli.options import config_option, json_option, state_of


@click.command("quarantine")
@config_option
@click.argument("orchestrator", metavar="CREW/NAME")
@click.option("--lift", is_flag=True, help="Let it go; what it does from now on counts as usual.")
@click.option("--crew", metavar="CREW", help="Whose it is, if its name does not begin with that.")
@json_option
def command(
    *, config_path: Path, orchestrator: str, lift: bool, crew: str | None, as_json: bool
) -> None:
    """Admit no new grants of an orchestrator, or let it go.

    CREW/NAME is the client_id of its tokens; 'CREW/*' stands for names never seen before. Its live
    branches go on, and may be refreshed for what they have. A restart changes nothing.
    """
    import msgspec

    from crewgate.core.printable import printable
    from crewgate.link.owner import Owner

    if crew is None:
        crew, slash, name = orchestrator.partition("/")
        if not (slash and crew and name):
            raise click.UsageError(f"{orchestrator!r} is no CREW/NAME, such as article/article-1")
    with Owner(state_of(config_path)) as owner:
        row = owner.quarantine(crew, orchestrator, lift=lift)
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(row)))
    elif lift:
        click.echo(f"{printable(orchestrator)}: its grants are admitted again")
    else:
        click.echo(f"{printable(orchestrator)}: no new grants are admitted; live branches go on")
