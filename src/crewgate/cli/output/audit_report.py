"""The output of `crewgate audit`: one document for a script, or tables for a person.

Every text in it came from outside. On a terminal each passes `printable`, and rich never reads it
as markup.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.table import Table
from rich.text import Text

from crewgate.audit.cluster_report import ClusterAuditReport
from crewgate.audit.filters import GroupBy
from crewgate.audit.query_results import CallGroup, CallRow, UnauthenticatedRefusals
from crewgate.cli.output import not_asked
from crewgate.cli.output.tables import open_console, print_table, table_of, utc
from crewgate.core.credits import format_credits
from crewgate.core.terminal_text import printable
from crewgate.core.tokens.claims import process_text

_MIB = 2**20


def show(
    found: ClusterAuditReport,
    folder: Path | None,
    by: GroupBy | None,
    *,
    branch: str | None,
    as_json: bool,
) -> None:
    """Print one JSON document in ASCII, so that no text in it controls a terminal, or tables.

    `folder` is that of this machine's audit; None if another machine was asked. If `branch` was
    asked for and made no call, also say how to find its revocation. Exit with status 1 if some
    machine gave no answer.
    """
    if as_json:
        click.echo(json.dumps(document(found, by), indent=2))
    else:
        _print(found, folder, by, branch)
    not_asked.exit_if_any(found.not_asked)


def document(found: ClusterAuditReport, by: GroupBy | None) -> dict[str, Any]:
    """Return what --json prints: `calls`, or `groups` if sums were asked for."""
    members = msgspec.to_builtins(found.report)
    return {
        "total": members["total"],
        "health": members["health"],
        "refusals": members.get("refusals", []),
        "calls": None if by else members.get("calls", []),
        "groups": members.get("groups", []) if by else None,
        "by": by.value if by else None,
        "machines": found.machines,
        "not_asked": not_asked.document(found.not_asked),
    }


def _print(
    found: ClusterAuditReport, folder: Path | None, by: GroupBy | None, branch: str | None
) -> None:
    console, answer = open_console(), found.report
    if answer.calls:
        print_table(console, _calls(answer.calls, is_of_one=found.is_of_one))
    if answer.groups and by:
        print_table(console, _groups(answer.groups, by))
    if answer.refusals:
        print_table(console, _refusals(answer.refusals))
    for line in _footer(found, folder, by):
        console.print(Text(line))
    total = answer.total
    if branch and total is not None and not total.calls + total.open + total.burned:
        console.print("the branch made no call; with --revocations, see whether it was revoked")
    for line in not_asked.lines(found.not_asked):
        console.print(Text(line), soft_wrap=True)


def _calls(rows: list[CallRow], *, is_of_one: bool) -> Table:
    columns: dict[str, Callable[[CallRow], str | Text]] = {
        "time (UTC)": lambda row: utc(row.time),
        "machine": lambda row: row.machine,
        "crew/role": lambda row: f"{row.crew}/{row.role}",
        "branch": lambda row: row.branch,
        "grant": lambda row: row.grant,
        "process": _process,
        "for": _person,
        "tool": lambda row: row.tool,
        "verdict": _verdict,
        "ended": lambda row: f"{row.outcome} {row.status or ''}".strip(),
        "cost": lambda row: format_credits(row.cost_micro),
        "overrun": lambda row: _credits(row.overrun_micro or None),
        "lease left": lambda row: _credits(row.remaining_micro),
        "certificate": lambda row: row.certificate,
    }
    if is_of_one:
        del columns["machine"]
    if not any(row.process_proven for row in rows):
        del columns["process"]
    if not any(row.overrun_micro for row in rows):
        del columns["overrun"]
    if not any(map(_person, rows)):
        del columns["for"]
    if not any(row.certificate for row in rows):
        del columns["certificate"]
    return table_of(columns, rows, numbers=("cost", "overrun", "lease left"))


def _process(row: CallRow) -> str:
    """Return the number of a proven process: its whole name would not fit in a table."""
    name = row.process.partition("/")[0] if row.process_proven else row.process
    return process_text(name, is_proven=row.process_proven)


def _credits(micro: int | None) -> str:
    return "" if micro is None else format_credits(micro)


def _person(row: CallRow) -> str:
    """Return on whose behalf the run acts, if that is not the orchestrator itself."""
    return "" if row.subject == row.orchestrator else row.subject


def _verdict(row: CallRow) -> Text:
    if row.verdict == "deny":
        return Text(printable(f"deny {row.reason}"), style="red")
    if row.would:
        return Text(printable(f"permit (would: {row.would})"), style="yellow")
    return Text(printable(f"permit {row.reason}".strip()))


def _groups(groups: list[CallGroup], by: GroupBy) -> Table:
    names: dict[str, Callable[[CallGroup], str]] = {by.value: lambda row: row.key or "(unknown)"}
    numbers: dict[str, Callable[[CallGroup], str]] = {
        "calls": lambda row: str(row.calls),
        "permitted": lambda row: str(row.permitted),
        "denied": lambda row: str(row.denied),
        "would deny": lambda row: str(row.would_deny),
        "open": lambda row: str(row.open),
        "cost": lambda row: format_credits(row.cost_micro),
        "burned": lambda row: format_credits(row.burned_micro),
    }
    if any(group.overrun_micro for group in groups):
        numbers["overrun"] = lambda row: _credits(row.overrun_micro or None)
    if by is GroupBy.BRANCH:
        names["crew/role"] = lambda row: f"{row.crew}/{row.role}"
        names["parent"] = lambda row: row.parent
        numbers["of quota"] = lambda row: _credits(row.quota_micro)
    elif by is GroupBy.ROLE:
        names["crew"] = lambda row: row.crew
    return table_of(names | numbers, groups, numbers=tuple(numbers))


def _refusals(refusals: list[UnauthenticatedRefusals]) -> Table:
    columns: dict[str, Callable[[UnauthenticatedRefusals], str]] = {
        "refused and only counted": lambda row: row.reason,
        "listener": lambda row: row.listener,
        "from": lambda row: "others" if row.peer == "*" else row.peer,
        "times": lambda row: str(row.count),
        "first (UTC)": lambda row: utc(row.first),
        "last (UTC)": lambda row: utc(row.last),
    }
    return table_of(columns, refusals, numbers=("times",))


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _footer(found: ClusterAuditReport, folder: Path | None, by: GroupBy | None) -> list[str]:
    total, health = found.report.total, found.report.health
    if total is None or health is None:
        return []
    listed = len(found.report.calls)
    more = total.calls + total.open + total.burned - listed
    sums = (
        f"{_counted(total.calls, 'call')}: {total.permitted} permitted, {total.denied} denied; "
        f"cost {format_credits(total.cost_micro)} credits, "
        f"burned {format_credits(total.burned_micro)}; "
        f"{_counted(total.open, 'stream')} open"
    )
    size = f"{health.bytes / _MIB:.1f} MiB"
    where = f"of {', '.join(found.machines)}"
    if found.is_of_one and folder is not None:
        where = f"in {folder}"
    lines = [sums, f"{_counted(health.files, 'file')}, {size} {printable(where)}"]
    if not by and more > 0:
        lines.insert(1, f"{more} older ones are not listed; --limit lists more")
    if total.overrun_micro:
        stated = format_credits(total.overrun_micro)
        lines.insert(1, f"answers stated {stated} credits more than was reserved; nobody paid them")
    if health.lost_records:
        lost = _counted(health.lost_records, "record")
        lines.append(f"lost {lost}, because the disk could not be written")
    if health.unreadable_lines:
        skipped = _counted(health.unreadable_lines, "incomplete or damaged line")
        lines.append(f"skipped {skipped}")
    return lines
