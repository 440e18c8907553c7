"""Says in a few words what a line of a replay is about; without the time, machine and branch."""

from collections.abc import Callable
from typing import Final

from crewgate.audit.replay.run_record import RunRecord
from crewgate.core.credits import format_credits
from crewgate.core.rules.rule import RuleKind

_STEPS = {"warn": "warned", "refuse": "refused", "end": "ended the branch"}
_WOULD = {"refuse": "would have refused", "end": "would have ended the branch"}


def describe(record: RunRecord) -> str:
    """Return what the record of a line says; it may have texts from outside."""
    write = _TEXTS.get(record.kind)
    return record.kind if write is None else write(record)


def plural(count: int, what: str) -> str:
    """Return a count of things, such as "1 call" or "2 calls"."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def mark(record: RunRecord) -> str:
    """Return the word by which a timeline shows the line: its kind, or `refused`."""
    return "refused" if record.kind == "call" and record.verdict == "deny" else record.kind


def _call(record: RunRecord) -> str:
    tool = record.tool or "(no tool)"
    if record.verdict == "deny":
        return f"{tool}: refused, {record.reason}"
    would = f" (would: {record.would})" if record.would else ""
    ended = f"{record.outcome} {record.status or ''}".rstrip()
    cost, took = format_credits(record.cost_micro), record.duration_us / 1000
    return f"{tool}: {ended}, {cost} credits, {took:.0f} ms{would}"


def _stream(record: RunRecord) -> str:
    return f"{record.tool}: stream began"


def _grant(record: RunRecord) -> str:
    tools, until = ", ".join(record.tools), f"{record.expires:%H:%M:%S}"
    return f"grant of {format_credits(record.quota_micro)} credits for {tools}, until {until}"


def _burned(record: RunRecord) -> str:
    cost = format_credits(record.cost_micro)
    return f"{record.tool}: reservation of {cost} credits burned ({record.cause})"


def _rule(record: RunRecord) -> str:
    is_observing = record.mode == "observe" and record.step != "warn"
    did = (_WOULD if is_observing else _STEPS).get(record.step, record.step)
    is_credits = record.rule_kind == RuleKind.CREDITS_PER_MINUTE
    count, limit = (
        format_credits(each) if is_credits else str(each) for each in (record.count, record.limit)
    )
    return f"rule {record.rule} {did} at {count} (limit {limit})"


def _revocation(record: RunRecord) -> str:
    why = f": {record.reason}" if record.reason else ""
    ended = f"; {plural(record.cuts, 'call')} ended" if record.cuts else ""
    return f"{record.target} {record.id} revoked by {record.by}{why}{ended}"


def _connection(record: RunRecord) -> str:
    return f"connection with a certificate of the branch {record.verdict}: {record.reason}"


def _watch(record: RunRecord) -> str:
    by = f", by {record.by}" if record.by not in {"", "watch"} else ""
    found = f"; {record.measure} {record.value} over {record.limit}" if record.measure else ""
    levels = f"{record.was} to {record.level}"
    return f"minting watch of {record.orchestrator}: {record.step}, {levels}{by}{found}"


_TEXTS: Final[dict[str, Callable[[RunRecord], str]]] = {
    "call": _call, "open": _stream, "grant": _grant, "burned": _burned, "rule": _rule,
    "revocation": _revocation, "connection": _connection, "watch": _watch,
}  # fmt: skip
