"""Prints whether the audit is as it was signed, and what differs."""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime

import click
import msgspec

from crewgate.audit.checkpoints.findings import Finding
from crewgate.audit.checkpoints.verification import VerificationReport
from crewgate.cli.held_checkpoints import HeldCheckpoints
from crewgate.cli.output import not_asked
from crewgate.cli.output.tables import print_labeled
from crewgate.core.terminal_text import printable

_LABEL = 13  # columns


def show(
    report: VerificationReport,
    folder: str,
    keys: Sequence[str],
    held: HeldCheckpoints,
    *,
    as_json: bool,
) -> None:
    """Print a report about a place, whose checkpoints `keys` may have signed, and others held."""
    if as_json:
        document = msgspec.to_builtins(report) | {"folder": folder, "keys": keys}
        document |= {"machines": held.machines, "not_asked": not_asked.document(held.not_asked)}
        # In ASCII: an attacker can add a file whose name is no text.
        click.echo(json.dumps(document))
        return
    for label, text in _parts(report, folder, keys, held):
        print_labeled(label, printable(text), _LABEL)


def _parts(
    report: VerificationReport, folder: str, keys: Sequence[str], held: HeldCheckpoints
) -> Iterator[tuple[str, str]]:
    if not report.checkpoints and not report.findings:
        yield "not signed", f"no checkpoint is in {folder}; a gateway signs the audit as it serves"
        return
    yield "checkpoints", f"{_many(report.checkpoints, 'checkpoint')} from number {report.first} on"
    if report.since is not None and report.until is not None:
        yield "", f"from {_utc(report.since)} to {_utc(report.until)}"
    yield from (("key", key) for key in keys)
    if held.machines:
        kept = sum(each.since is not None for each in held.checkpoints)
        names = ", ".join(held.machines)
        yield "kept", f"{_many(kept, 'checkpoint')} of these by {names}"
    for line in not_asked.lines(held.not_asked):
        yield "", line
    signed = f"{_many(report.files, 'file')} with {_many(report.lines, 'line')}"
    yield "as signed", f"{signed}, {report.bytes:,} bytes"
    if report.gone:
        yield "", f"retention has deleted {_many(report.gone, 'older file')}"
    for part in report.unsigned:
        text = f"{_many(part.lines, 'line')} ({part.bytes:,} bytes) at the end of {part.file}"
        yield "not signed", f"{text}: newer than the last checkpoint"
    for finding in report.findings:
        yield finding.kind.upper(), _text(finding)
    if report.more:
        yield "", f"and {report.more} more"
    if report.is_whole:
        yield "result", "nothing was changed, removed or inserted"
        return
    count = len(report.findings) + report.more
    yield "result", f"NOT as it was signed: {_many(count, 'finding')}; keep a copy of the folder"


def _text(finding: Finding) -> str:
    found = f"{finding.file}: {finding.why}"
    if finding.until is None:
        return found
    begin = "by" if finding.since is None else f"between {_utc(finding.since)} and"
    return f"{found} {begin} {_utc(finding.until)}"


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def _utc(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
