"""The output about a revocation: sentences, a JSON document, and the exit status."""

import json
import os
import sys
from collections.abc import Container, Iterable
from textwrap import wrap
from typing import Any

import click
import msgspec

from crewgate import limits
from crewgate.core.ids import EntityKind
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.ipc.admin_messages import NeverSeen, QuorumResult, RevocationReceipt

_OF_THE_REQUEST = ("type", "id", "targets")
# Exit statuses: fewer machines than asked for have the revocation; the name was never seen.
_TOO_FEW, NEVER_SEEN = 3, 4
# A line names so many machines.
_NAMED_MAX = 8
_FEWER = {
    "local": "the disk of this machine is not among them",
    "quorum": "that is less than a majority",
    "all": "that is not all of them",
}


def show(receipt: RevocationReceipt, *, as_json: bool, without: Container[str] = ()) -> None:
    """Print a receipt for a person, or as one JSON document without the members in `without`."""
    (target,) = receipt.targets
    found = receipt_document(receipt)
    found |= found.pop("reach")
    # The output of this command has another name for it.
    found["streams_cut"] = found.pop("calls_cut")
    named = {target.rules.label: target.name, "crew": target.crew}
    shown = {name: value for name, value in (named | found).items() if name not in without}
    print_receipt(receipt, _explained(receipt, target), shown if as_json else None)


def lines(receipt: RevocationReceipt) -> list[str]:
    """Return a receipt about one target, for a person."""
    (target,) = receipt.targets
    never_seen = never_seen_lines(receipt.never_seen, receipt.never_seen_on, receipt.reach.of)
    return [*_explained(receipt, target), *never_seen]


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
        columns = os.get_terminal_size().columns if sys.stdout.isatty() else 0
        click.echo("\n".join(between_words([*lines, *never_seen], columns)))
    exit_by_reach(receipt.reach, receipt.never_seen)


def between_words(lines: Iterable[str], columns: int) -> list[str]:
    """Return lines of at most `columns`, where words are no longer; 0 leaves all as they are."""
    if not columns:
        return list(lines)
    parts = (wrap(line, columns, break_long_words=False, break_on_hyphens=False) for line in lines)
    return [part for found in parts for part in found]


def exit_by_reach(reach: QuorumResult, never_seen: NeverSeen = "") -> None:
    """Exit with 3 if too few machines have the revocation, or with 4 if the name was never seen."""
    if not reach.enough:
        click.get_current_context().exit(_TOO_FEW)
    if never_seen:
        click.get_current_context().exit(NEVER_SEEN)


def never_seen_lines(never_seen: NeverSeen, on: int, machines: int) -> list[str]:
    """Return the line about a name that is unknown to `on` of all `machines`.

    Machines forget names in time, so the line does not say that no call ever had the name.
    """
    if not never_seen:
        return []
    if machines == 1:
        who = "this machine"
    elif never_seen == "everywhere":
        who = f"all {machines} machines"
    else:
        who = f"{on} of {machines} machines (the others did not answer)"
    return [f"the name is unknown to {who}: is it mistyped? The command took effect all the same"]


def reach_lines(reach: QuorumResult) -> list[str]:
    """Return on how many disks it is; nothing for a single machine that has it on disk."""
    if reach.of == 1:
        return [] if reach.enough else ["it is in force, but not on disk; see the log of the agent"]
    lines = [f"on the disks of {reach.applied_on} of {reach.of} machines after {reach.ms:.1f} ms"]
    if not reach.enough:
        named = ", ".join(reach.missing[:_NAMED_MAX])
        more = "" if len(reach.missing) <= _NAMED_MAX else ", …"
        missing = (
            f"no answer yet from: {named}{more}" if named else "no other machine was reachable"
        )
        lines.append(missing)
        lines.append(f"{_FEWER[reach.until]}; this machine keeps sending it")
    return lines


def _explained(receipt: RevocationReceipt, target: RevocationTarget) -> list[str]:
    """Return what a revocation did to its target, for a person."""
    cut = "no call was open at the gateway"
    if receipt.calls_cut:
        calls = "call" if receipt.calls_cut == 1 else "calls"
        cut = f"{receipt.calls_cut} open {calls} cut within {receipt.cut_ms:.1f} ms"
    if target.kind is EntityKind.SUBJECT:
        cut = f"ended {_runs(receipt)}; {cut}"
    lines = [f"revoked {_named(target)}: {cut}"]
    if receipt.coarsened:
        lines.append(
            f"crew {target.crew} has used up its share of revocations, so all its tokens issued "
            "until now are revoked"
        )
        if target.rules.spans_crews:
            lines.append(
                f"later tokens of {target.rules.label} {target.name} are still good: revoke it "
                "again without --crew"
            )
    if receipt.unresponsive:
        lines.append(
            f"{receipt.unresponsive} of {receipt.attachments} attached processes did not answer in "
            "time; they accept no more of its calls, and cut open ones when they run again"
        )
    return lines + reach_lines(receipt.reach)


def _runs(receipt: RevocationReceipt) -> str:
    """Return how many live runs of a subject have ended, as far as the machines have said it."""
    number = {0: "no live run", 1: "1 live run"}.get(
        receipt.runs_ended, f"{receipt.runs_ended} live runs"
    )
    if not receipt.runs_unasked:
        return number
    silent = "1 machine" if receipt.runs_unasked == 1 else f"{receipt.runs_unasked} machines"
    return f"{number}, and perhaps more on {silent} that did not answer"


def _named(target: RevocationTarget) -> str:
    """Return what was revoked: a branch with everything below it, or tokens."""
    crew, label = f"crew {target.crew}", target.rules.label
    if target.kind is EntityKind.BRANCH:
        return f"{target.name} of {crew} and all below it"
    if target.rules.spans_crews and not target.crew:
        crew = "all crews"
    what = crew if target.kind is EntityKind.CREW else f"{label} {target.name} of {crew}"
    if target.rules.is_for_good:
        return what
    return f"all tokens of {what} issued up to {limits.leeway_seconds} s from now"
