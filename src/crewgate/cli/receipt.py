"""What a revocation did, as `crewgate revoke` prints it."""

import json
from collections.abc import Container
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from crewgate.link.owner_messages import Receipt

_NEVER = ("type", "id")  # the link's own


def show(receipt: "Receipt", *, as_json: bool, without: Container[str] = ()) -> None:
    """Print it for a person, or its members but those `without` as one JSON document."""
    import msgspec

    if not as_json:
        click.echo("\n".join(_explained(receipt)))
        return
    members = msgspec.to_builtins(receipt)
    shown = {k: v for k, v in members.items() if k not in _NEVER and k not in without}
    click.echo(json.dumps(shown))


def _explained(receipt: "Receipt") -> list[str]:
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
