"""`crewgate tree`: shows the branches of each crew, who spawned whom, and what each has spent."""

from pathlib import Path

import click

from crewgate.cli.options import json_option, state_of
from crewgate.cli.output.tree import show
from crewgate.cli.remote.option import with_remote
from crewgate.ipc.admin_client import AdminClient


@click.command("tree")
@with_remote("tree")
@json_option
def command(*, config_path: Path, as_json: bool) -> None:
    """Show the branches, what each has spent, and what it may still spend.

    The amount of a branch includes everything below it.
    """
    with AdminClient(state_of(config_path)) as admin:
        rows = admin.tree()
    show(rows, as_json=as_json)
