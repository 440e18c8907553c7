"""What a revocation did, as `crewgate revoke` prints it."""

import json
from collections.abc import Container
from typing import TYPE_CHECKING, Any

import click

from crewgate import limits

if TYPE_CHECKING:
    from crewgate.core.revocation_kinds import RevocationTarget
    from crewgate.ipc.admin_messages import NeverSeen, QuorumResult, RevocationReceipt

_OF_THE_REQUEST = ("type", "id", "targets")
_TOO_FEW = 3  # the exit status
NEVER_SEEN = 4  # the exit status for a name that was never seen
_NAMED_MAX = 8  # machines in a line
_FEWER = {
    "local": "this machine's is not among them",
    "quorum": "that is no majority",
    "all": "that is not all of them",
}


def show(receipt: "RevocationReceipt", *, as_json: bool, without: Container[str] = ()) -> None:
    """Print it for a person, or its members but those `without` as one JSON document."""
    (target,) = receipt.targets
    found = receipt_document(receipt)
    found |= found.pop("reach")
    found["streams_cut"] = found.pop("calls_cut")  # as the output of this command calls it
    asked = {target.rules.label: target.name, "crew": target.crew}
    shown = {name: value for name, value in (asked | found).items() if name not in without}
    print_receipt(receipt, _explained(receipt, target), shown if as_json else None)


def receipt_document(receipt: "RevocationReceipt") -> dict[str, Any]:
    """What a script is told of it: all but what was asked for and what the agent's socket needs."""
    import msgspec

    found: dict[str, Any] = msgspec.to_builtins(receipt)
    return {name: value for name, value in found.items() if name not in _OF_THE_REQUEST}


def print_receipt(
    receipt: "RevocationReceipt", lines: list[str], found: dict[str, Any] | None
) -> None:
    """Print what was `found` as JSON, or else the lines, and end with the exit status."""
    if found is not None:
        click.echo(json.dumps(found))
    else:
        never_seen = unseen(receipt.never_seen, receipt.never_seen_on, receipt.reach.of)
        click.echo("\n".join([*lines, *never_seen]))
    end(receipt.reach, receipt.never_seen)


def end(reach: "QuorumResult", never_seen: "NeverSeen" = "") -> None:
    """With exit status 3, where fewer have it than were asked for; 4 for what was never seen."""
    if not reach.enough:
        click.get_current_context().exit(_TOO_FEW)
    if never_seen:
        click.get_current_context().exit(NEVER_SEEN)


def unseen(never_seen: "NeverSeen", on: int, machines: int) -> list[str]:
    """What the command says about a name that was never seen `on` some of all `machines`."""
    if not never_seen:
        return []
    if machines == 1:
        where = "on this machine"
    elif never_seen == "everywhere":
        where = f"on any of {machines} machines"
    else:
        where = f"on {on} of {machines} machines; the others did not answer"
    return [f"never seen {where}: is it mistyped? It is done all the same"]


def reached(reach: "QuorumResult") -> list[str]:
    """On how many machines it is, for a person; nothing where there is one alone that has it."""
    if reach.of == 1:
        return [] if reach.enough else ["it is in force, and not on the disk; see the agent's log"]
    lines = [f"on the disks of {reach.applied_on} of {reach.of} machines after {reach.ms:.1f} ms"]
    if not reach.enough:
        named = ", ".join(reach.missing[:_NAMED_MAX])
        more = "" if len(reach.missing) <= _NAMED_MAX else ", …"
        heard = f"nothing was heard yet from: {named}{more}" if named else "nobody could be asked"
        lines.append(heard)
        lines.append(f"{_FEWER[reach.until]}; it goes on being told")
    return lines


def _explained(receipt: "RevocationReceipt", target: "RevocationTarget") -> list[str]:
    """What was done, for a person."""
    cut = "no call was open at the gateway"
    if receipt.calls_cut:
        calls = "call" if receipt.calls_cut == 1 else "calls"
        cut = f"{receipt.calls_cut} open {calls} cut within {receipt.cut_ms:.1f} ms"
    lines = [f"revoked {_named(target)}: {cut}"]
    if receipt.coarsened:
        lines.append(
            f"crew {target.crew} has used up its share of revocations, so all its tokens issued "
            "until now are revoked"
        )
    if receipt.unresponsive:
        lines.append(
            f"{receipt.unresponsive} of {receipt.attachments} attached processes did not answer in "
            "time; they admit nothing of it, and cut its open calls when they run again"
        )
    return lines + reached(receipt.reach)


def _named(target: "RevocationTarget") -> str:
    """What was ended: of what is no branch, tokens."""
    from crewgate.core.ids import KeyKind

    whose, label = f"crew {target.crew}", target.rules.label
    if target.kind is KeyKind.BRANCH:
        return f"{target.name} of {whose} and all below it"
    what = whose if target.kind is KeyKind.CREW else f"{label} {target.name} of {whose}"
    if target.rules.is_for_good:
        return what
    return f"every token of {what} that is dated until {limits.leeway_seconds} s from now"
