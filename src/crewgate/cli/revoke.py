"""`crewgate revoke`: one branch and all below it, with a receipt."""

from pathlib import Path

import click

from crewgate.cli.controlled import controlled
from crewgate.cli.options import json_option, state_of
from crewgate.cli.receipt import show


@click.command("revoke")
@controlled("revoke")
@click.argument("branch")
@click.option("--crew", metavar="CREW", default="", help="Whose branch; needed if it was not seen.")
@json_option
def command(*, config_path: Path, branch: str, crew: str, as_json: bool) -> None:
    """End a branch and all that it spawned, at once.

    BRANCH is the id that `crewgate tree` shows. There is no way back.
    """
    from crewgate.link.owner import Owner

    with Owner(state_of(config_path)) as owner:
        receipt = owner.revoke(branch, crew)
    show(receipt, as_json=as_json)
