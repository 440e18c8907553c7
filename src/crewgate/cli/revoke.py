"""`crewgate revoke`: one branch and all below it, with a receipt."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crewgate.cli.controlled import controlled
from crewgate.cli.options import json_option, state_of

if TYPE_CHECKING:
    from crewgate.link.owner_messages import Receipt


@click.command("revoke")
@controlled("revoke")
@click.argument("branch")
@click.option("--crew", metavar="CREW", default="", help="Whose branch; needed if it was not seen.")
@json_option
def command(*, config_path: Path, branch: str, crew: str, as_json: bool) -> None:
    """End a branch and all that it spawned, at once.

    BRANCH is the id that `crewgate tree` shows. There is no way back.
    """
    import msgspec

    from crewgate.link.owner import Owner

    with Owner(state_of(config_path)) as owner:
        receipt = owner.revoke(branch, crew)
    if as_json:
        document = msgspec.to_builtins(receipt)
        del document["type"], document["id"]
        click.echo(json.dumps(document))
        return
    click.echo("\n".join(explained(receipt)))


def explained(receipt: "Receipt") -> list[str]:
    """What was done, for a person."""
    cut = "no call was open at the gateway"
    if receipt.streams_cut:
        calls = "call" if receipt.streams_cut == 1 else "calls"
        cut = f"{receipt.streams_cut} open {calls} cut within {receipt.cut_ms:.1f} ms"
    lines = [f"revoked {receipt.branch} of crew {receipt.crew} and all below it: {cut}"]
    if receipt.coarsened:
        lines.append(
            f"crew {receipt.crew} has used up its share of revocations, so all its tokens issued "
            "until now are revoked"
        )
    if receipt.missing:
        lines.append(
            f"{receipt.missing} of {receipt.attachments} attached processes did not answer in "
            "time; they admit nothing of the branch, and cut its open calls when they run again"
        )
    return lines
