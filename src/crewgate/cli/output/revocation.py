"""The output about a revocation: sentences, a JSON document, and the exit status."""

import json
from collections.abc import Container
from typing import Any

import click
import msgspec

from crewgate.cli.output.line_wrapping import between_words, terminal_columns
from crewgate.ipc.admin_messages import NeverSeen, QuorumResult, RevocationReceipt
from crewgate.ipc.receipt_text import never_seen_lines, revocation_lines

_OF_THE_REQUEST = ("type", "id", "targets")
# Exit statuses: fewer machines than asked for have the revocation; the name was never seen.
_TOO_FEW, NEVER_SEEN = 3, 4


def show(receipt: RevocationReceipt, *, as_json: bool, without: Container[str] = ()) -> None:
    """Print a receipt for a person, or as one JSON document without the members in `without`."""
    (target,) = receipt.targets
    found = receipt_document(receipt)
    found |= found.pop("reach")
    # The output of this command has another name for it.
    found["streams_cut"] = found.pop("calls_cut")
    named = {target.rules.label: target.name, "crew": target.crew}
    shown = {name: value for name, value in (named | found).items() if name not in without}
    print_receipt(receipt, revocation_lines(receipt), shown if as_json else None)


def receipt_document(receipt: RevocationReceipt) -> dict[str, Any]:
    """Return the members of a receipt for JSON, without the request and the socket's own fields."""
    found: dict[str, Any] = msgspec.to_builtins(receipt)
    return {name: value for name, value in found.items() if name not in _OF_THE_REQUEST}


def print_receipt(
    receipt: RevocationReceipt, lines: list[str], found: dict[str, Any] | None
) -> None:
    """Print `found` as JSON, or the lines if it is None; then exit with the status."""
    if found is not None:
        click.echo(json.dumps(found))
    else:
        never_seen = never_seen_lines(receipt.never_seen, receipt.never_seen_on, receipt.reach.of)
        click.echo("\n".join(between_words([*lines, *never_seen], terminal_columns())))
    exit_by_reach(receipt.reach, receipt.never_seen)


def exit_by_reach(reach: QuorumResult, never_seen: NeverSeen = "") -> None:
    """Exit with 3 if too few machines have the revocation, or with 4 if the name was never seen."""
    if not reach.enough:
        click.get_current_context().exit(_TOO_FEW)
    if never_seen:
        click.get_current_context().exit(NEVER_SEEN)
