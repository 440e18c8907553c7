"""What a revocation did, as `crewgate revoke` prints it."""

import json
from collections.abc import Container
from typing import TYPE_CHECKING

import click

from crewgate import limits

if TYPE_CHECKING:
    from crewgate.ipc.admin_messages import NamesReceipt, NeverSeen, QuorumResult, RevocationReceipt

_NEVER = ("type", "id")  # the link's own
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
    _print(receipt, _explained(receipt), as_json=as_json, without=without)


def show_names(receipt: "NamesReceipt", lines: list[str], *, as_json: bool) -> None:
    """The same of what is no branch; `lines` say what it was."""
    _print(receipt, [*lines, *reached(receipt.reach)], as_json=as_json)


def _print(
    receipt: "RevocationReceipt | NamesReceipt",
    lines: list[str],
    *,
    as_json: bool,
    without: Container[str] = (),
) -> None:
    import msgspec

    if as_json:
        members = msgspec.to_builtins(receipt)
        members |= members.pop("reach")
        if "target" in members:
            members = {members.pop("target"): members.pop("name"), **members}
        shown = {k: v for k, v in members.items() if k not in _NEVER and k not in without}
        click.echo(json.dumps(shown))
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


def _explained(receipt: "RevocationReceipt") -> list[str]:
    """What was done, for a person."""
    cut = "no call was open at the gateway"
    if receipt.streams_cut:
        calls = "call" if receipt.streams_cut == 1 else "calls"
        cut = f"{receipt.streams_cut} open {calls} cut within {receipt.cut_ms:.1f} ms"
    lines = [f"revoked {_named(receipt)}: {cut}"]
    if receipt.coarsened:
        lines.append(
            f"crew {receipt.crew} has used up its share of revocations, so all its tokens issued "
            "until now are revoked"
        )
    if receipt.silent:
        lines.append(
            f"{receipt.silent} of {receipt.attachments} attached processes did not answer in "
            "time; they admit nothing of it, and cut its open calls when they run again"
        )
    return lines + reached(receipt.reach)


def _named(receipt: "RevocationReceipt") -> str:
    """What was ended: of what is no branch, tokens."""
    if receipt.target == "branch":
        return f"{receipt.name} of crew {receipt.crew} and all below it"
    if receipt.target == "grant":
        return f"grant {receipt.name} of crew {receipt.crew}"
    whose = f"crew {receipt.crew}"
    if receipt.target == "process":
        whose = f"process {receipt.name} of {whose}"
    return f"every token of {whose} that is dated until {limits.leeway_seconds} s from now"
