"""`crewgate revoke`: one branch and all below it, with a receipt."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from crewgate.cli.controlled import controlled
from crewgate.cli.options import json_option, state_of, until_option
from crewgate.cli.receipt import show

if TYPE_CHECKING:
    from crewgate.link.owner_messages import Until


@click.command("revoke")
@controlled("revoke")
@click.argument("branch")
@click.option("--crew", metavar="CREW", default="", help="Whose branch; needed if it was not seen.")
@until_option
@json_option
def command(*, config_path: Path, branch: str, crew: str, until: "Until", as_json: bool) -> None:
    """End a branch and all that it spawned, at once.

    BRANCH is the id that `crewgate tree` shows. There is no way back. It ends on all machines; exit
    status 3: fewer than --until asks for have it on disk so far, and go on being told.
    """
    from crewgate.link.owner import Owner

    with Owner(state_of(config_path)) as owner:
        receipt = owner.revoke(branch, crew, until)
    show(receipt, as_json=as_json)
