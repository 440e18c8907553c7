"""`crewgate tree`: the auth graph, crew by crew: who spawned whom, what was spent, what is left."""

from pathlib import Path

import click

from crewgate.cli.options import json_option, state_of
from crewgate.cli.output.tree import show
from crewgate.cli.remote.option import with_remote


@click.command("tree")
@with_remote("tree")
@json_option
def command(*, config_path: Path, as_json: bool) -> None:
    """Show the branches, what they spent and may still spend.

    What a branch spent includes everything below it.
    """
    from crewgate.ipc.admin_client import AdminClient

    with AdminClient(state_of(config_path)) as owner:
        rows = owner.tree()
    show(rows, as_json=as_json)
