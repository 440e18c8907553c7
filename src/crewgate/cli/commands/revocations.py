"""`crewgate revocations`: what is revoked, by whom, why and until when."""

from pathlib import Path

import click

from crewgate import limits
from crewgate.cli.options import CREW_NAME, json_option, machine_options, state_of
from crewgate.cli.output.revocation_list import show
from crewgate.cli.remote.option import with_remote
from crewgate.ipc.admin_client import AdminClient


@click.command("revocations")
@machine_options
@with_remote("revocations")
@click.option(
    "--crew", type=CREW_NAME, metavar="CREW", default="", help="Revocations of this crew only."
)
@click.option(
    "--limit",
    type=click.IntRange(0, limits.page_rows_max),
    default=limits.revocation_rows_default,
    show_default=True,
    help="List the newest revocations, at most so many.",
)
@json_option
def command(*, config_path: Path, crew: str, limit: int, machine: str, as_json: bool) -> None:
    """Show what is revoked: by whom, why, until when, and on how many machines.

    A revocation ends by itself, mostly after a day; by then, every token that it is about has
    expired. Earlier revocations are in the audit. Exit status 1: some machine did not answer; it
    is named.
    """
    with AdminClient(state_of(config_path)) as admin:
        found = admin.cluster_revocations(crew, limit, machine)
    show(found, crew, as_json=as_json)
