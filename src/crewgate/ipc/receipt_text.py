"""What a receipt of the agent says, in lines for a person: on a terminal, and on the live page."""

from datetime import UTC, datetime
from typing import Final

from crewgate import limits
from crewgate.core.credits import format_credits
from crewgate.core.ids import EntityKind
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.core.terminal_text import printable
from crewgate.ipc.admin_messages import (
    BurnedCreditForgiven,
    NeverSeen,
    QuarantineResult,
    QuorumResult,
    RevocationReceipt,
)

# A line names so many machines.
_NAMED_MAX: Final = 8
_FEWER: Final = {
    "local": "the disk of this machine is not among them",
    "quorum": "that is less than a majority",
    "all": "that is not all of them",
}


def of_revocation(receipt: RevocationReceipt) -> list[str]:
    """Return a receipt about one target."""
    never_seen = never_seen_lines(receipt.never_seen, receipt.never_seen_on, receipt.reach.of)
    return [*revocation_lines(receipt), *never_seen]


def of_quarantine(orchestrator: str, done: QuarantineResult, *, lift: bool = False) -> list[str]:
    """Return what holds now of an orchestrator whose quarantine was set or lifted."""
    text = "not quarantined; it can start branches again"
    if not lift:
        end = datetime.fromtimestamp(done.row.until, UTC)
        text = (
            f"quarantined until {end:%Y-%m-%d %H:%M}Z; it cannot start branches, and live branches "
            "continue"
        )
    never_seen = never_seen_lines(done.never_seen, done.never_seen_on, done.machines)
    return [f"{printable(orchestrator)}: {text}", *never_seen]


def of_forgiving(done: BurnedCreditForgiven) -> list[str]:
    """Return how much burned credit a branch has again."""
    amount = format_credits(done.amount)
    return [f"returned {amount} credits to {done.branch} of crew {done.crew}"]


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


def revocation_lines(receipt: RevocationReceipt) -> list[str]:
    """Return what a revocation of one target did, without the line of `never_seen_lines`."""
    (target,) = receipt.targets
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
