"""The output of `crewgate journal`: one document for a script, or a table for a person.

Texts in it came from sub-agents. On a terminal each passes `printable`.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click
import msgspec
from rich.console import Console
from rich.text import Text

from crewgate.cli.output.tables import open_console, print_table, table_of, utc
from crewgate.core.credits import format_credits
from crewgate.core.terminal_text import printable
from crewgate.issuer.journal.journal_queries import JournalEvent, JournalReport, JournalRow

_EVENTS: Final[dict[JournalEvent, str]] = {
    "mint": "minted",
    "extend": "extended",
    "refuse": "refused",
    "revoke": "revoked",
}
_STYLES: Final[dict[JournalEvent, str]] = {"refuse": "red", "revoke": "yellow"}
_UNITS: Final = (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1))


def show(report: JournalReport, folder: Path, *, as_json: bool) -> None:
    """Print one JSON document in ASCII, so that no text in it controls a terminal, or a table."""
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(report), indent=2))
        return
    console = open_console()
    if report.entries:
        columns = dict(_COLUMNS)
        if not any(row.answer for row in report.entries):
            del columns["answer"]
        print_table(console, table_of(columns, report.entries))
    for line in _footer(report, folder):
        _print(console, line)


def _print(console: Console, line: str) -> None:
    console.print(Text(printable(line)), soft_wrap=True)


def _footer(report: JournalReport, folder: Path) -> list[str]:
    counts = ", ".join(f"{report.counts.get(event, 0)} {word}" for event, word in _EVENTS.items())
    files = "1 journal" if report.files == 1 else f"{report.files} journals"
    lines = [f"{counts}; {files} in {folder}"]
    older = sum(report.counts.values()) - len(report.entries)
    if older:
        lines.insert(0, f"{older} older ones are not listed; --limit lists more")
    for part in report.unreadable:
        where = f"{part.file}: line {part.line}" if part.line else part.file
        lines.append(f"not read: {where}: {part.reason}")
    if report.unreadable_more:
        lines.append(f"not read: {report.unreadable_more} more lines")
    return lines


def _event(row: JournalRow) -> Text:
    return Text(_EVENTS[row.event], style=_STYLES.get(row.event, ""))


def _growth(row: JournalRow) -> str:
    """Return what the branch got, or asked for: time, credits and tools."""
    sign = "" if row.event == "mint" else "+"
    parts = [_time(row.seconds, sign)] if row.seconds else []
    if row.end_moved:
        parts.append(f"end {_time(row.end_moved, sign)}")
    if row.credits_micro:
        amount = format_credits(abs(row.credits_micro))
        parts.append(f"{'-' if row.credits_micro < 0 else sign}{amount} credits")
    parts += [f"{sign}{tool}" for tool in row.tools]
    return ", ".join(parts)


def _time(seconds: int, sign: str) -> str:
    """Return a length of time in at most two units, such as `+1h30m`."""
    left, parts = abs(seconds), []
    for unit, size in _UNITS:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return ("-" if seconds < 0 else sign) + "".join(parts[:2])


def _decider(row: JournalRow) -> str:
    if row.event == "revoke":
        return row.orchestrator
    return f"{row.decided_by} ({row.way})" if row.decided_by else ""


_COLUMNS: Final[dict[str, Callable[[JournalRow], str | Text]]] = {
    "time (UTC)": lambda row: utc(row.time),
    "orchestrator": lambda row: row.orchestrator,
    "role": lambda row: row.role,
    "branch": lambda row: row.branch,
    "event": _event,
    "what": _growth,
    "why": lambda row: row.reason,
    "decided by": _decider,
    "answer": lambda row: row.answer,
}
