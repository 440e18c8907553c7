"""`crewgate tree`: shows the branches of each crew, who spawned whom, and what each has spent."""

from pathlib import Path

import click

from crewgate.cli.options import json_option, machine_options, state_of
from crewgate.cli.output.tree import show
from crewgate.cli.remote.option import with_remote
from crewgate.ipc.admin_client import AdminClient


@click.command("tree")
@machine_options
@with_remote("tree")
@json_option
def command(*, config_path: Path, machine: str, as_json: bool) -> None:
    """Show the branches of all machines, what each has spent, and what it may still spend.

    The amount of a branch includes everything below it. A branch that calls over several machines
    is shown once, with the machines. Exit status 1: some machine did not answer; it is named.
    """
    with AdminClient(state_of(config_path)) as admin:
        found = admin.cluster_tree(machine=machine)
    show(found, as_json=as_json)
