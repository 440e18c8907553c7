"""The output of `crewgate audit`: one document for a script, or tables for a person.

Every text in it came from outside. On a terminal each passes `printable`, and rich never reads it
as markup.
"""

import json
from pathlib import Path

import click
import msgspec
from rich.table import Table
from rich.text import Text

from crewgate.audit.filters import AuditFilter, GroupBy
from crewgate.audit.reader import AuditGaps, AuditReader, CallGroup, CallRow, RefusalSummary
from crewgate.cli.output.tables import cells, new_table, open_console, print_table, utc
from crewgate.core.credits import format_credits
from crewgate.core.terminal_text import printable

_MIB = 2**20


class AuditReport(msgspec.Struct, frozen=True):
    """The whole output of one `crewgate audit`: `calls`, or `groups` if sums were asked for."""

    total: CallGroup
    health: AuditGaps
    # Refusals before a good signature; empty if the output is filtered.
    refusals: list[RefusalSummary]
    calls: list[CallRow] | None = None
    groups: list[CallGroup] | None = None
    by: GroupBy | None = None


def ask(audit: AuditReader, question: AuditFilter, by: GroupBy | None) -> AuditReport:
    """Query the audit once for each part of the output."""
    is_unfiltered = question == AuditFilter(since=question.since, limit=question.limit)
    return AuditReport(
        total=audit.total(question),
        health=audit.health(question.since),
        refusals=audit.refusals(question.since) if is_unfiltered else [],
        calls=None if by else audit.calls(question),
        groups=audit.groups(question, by) if by else None,
        by=by,
    )


def show(answer: AuditReport, folder: Path, *, as_json: bool) -> None:
    """Print one JSON document in ASCII, so that no text in it controls a terminal, or tables."""
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(answer), indent=2))
        return
    console = open_console()
    if answer.calls:
        print_table(console, _calls(answer.calls))
    if answer.groups and answer.by:
        print_table(console, _groups(answer.groups, answer.by))
    if answer.refusals:
        print_table(console, _refusals(answer.refusals))
    for line in _footer(answer, folder):
        console.print(Text(line))


def _calls(rows: list[CallRow]) -> Table:
    certified = any(row.certificate for row in rows)
    overrun = any(row.overrun_micro for row in rows)
    table = new_table(
        "time (UTC)", "crew/role", "branch", "grant", "tool", "verdict", "ended", "cost",
        *(["overrun"] if overrun else []), "lease left", *(["certificate"] if certified else []),
        numbers=("cost", "overrun", "lease left"),
    )  # fmt: skip
    for row in rows:
        left = "" if row.remaining_micro is None else format_credits(row.remaining_micro)
        table.add_row(
            *cells(
                utc(row.time),
                f"{row.crew}/{row.role}",
                row.branch,
                row.grant,
                row.tool,
                _verdict(row),
                f"{row.outcome} {row.status or ''}".strip(),
                format_credits(row.cost_micro),
                *([_overrun(row.overrun_micro)] if overrun else []),
                left,
                *([row.certificate] if certified else []),
            )
        )
    return table


def _overrun(micro: int) -> str:
    return format_credits(micro) if micro else ""


def _verdict(row: CallRow) -> Text:
    if row.verdict == "deny":
        return Text(printable(f"deny {row.reason}"), style="red")
    if row.would:
        return Text(printable(f"permit (would: {row.would})"), style="yellow")
    return Text(printable(f"permit {row.reason}".strip()))


def _groups(groups: list[CallGroup], by: GroupBy) -> Table:
    keys = {GroupBy.BRANCH: ["branch", "crew/role", "parent"], GroupBy.ROLE: ["role", "crew"]}
    headings = keys.get(by, [by.value])
    overrun = any(group.overrun_micro for group in groups)
    numbers: tuple[str, ...] = (
        "calls",
        "permitted",
        "denied",
        "would deny",
        "open",
        "cost",
        "burned",
    )
    numbers += ("overrun",) if overrun else ()
    numbers += ("of quota",) if by is GroupBy.BRANCH else ()
    table = new_table(*headings, *numbers, numbers=numbers)
    for group in groups:
        sums = _sums(group)
        sums += [_overrun(group.overrun_micro)] if overrun else []
        sums += [_quota(group)] if by is GroupBy.BRANCH else []
        table.add_row(*cells(*_names(group, by), *sums))
    return table


def _names(group: CallGroup, by: GroupBy) -> list[str]:
    key = group.key or "(unknown)"
    if by is GroupBy.BRANCH:
        return [key, f"{group.crew}/{group.role}", group.parent]
    return [key, group.crew] if by is GroupBy.ROLE else [key]


def _sums(group: CallGroup) -> list[str]:
    return [
        *map(str, (group.calls, group.permitted, group.denied, group.would_deny, group.open)),
        format_credits(group.cost_micro),
        format_credits(group.burned_micro),
    ]


def _quota(group: CallGroup) -> str:
    return "" if group.quota_micro is None else format_credits(group.quota_micro)


def _refusals(refusals: list[RefusalSummary]) -> Table:
    table = new_table(
        "refused before a good signature", "listener", "from", "times", "first (UTC)", "last (UTC)",
        numbers=("times",),
    )  # fmt: skip
    for one in refusals:
        table.add_row(
            *cells(
                one.reason,
                one.listener,
                "others" if one.peer == "*" else one.peer,
                str(one.count),
                utc(one.first),
                utc(one.last),
            )
        )
    return table


def _footer(answer: AuditReport, folder: Path) -> list[str]:
    total, health = answer.total, answer.health
    listed = len(answer.calls or [])
    more = total.calls + total.open + total.burned - listed
    sums = (
        f"{total.calls} calls: {total.permitted} permitted, {total.denied} denied; "
        f"cost {format_credits(total.cost_micro)} credits, "
        f"burned {format_credits(total.burned_micro)}; {total.open} streams open"
    )
    lines = [
        sums,
        f"{health.files} files, {health.bytes / _MIB:.1f} MiB in {printable(str(folder))}",
    ]
    if answer.calls is not None and more > 0:
        lines.insert(1, f"{more} older ones are not listed; --limit lists more")
    if total.overrun_micro:
        stated = format_credits(total.overrun_micro)
        lines.insert(1, f"answers stated {stated} credits more than was reserved; nobody paid them")
    if health.lost_records:
        lines.append(f"{health.lost_records} records were lost while the disk could not be written")
    if health.unreadable_lines:
        lines.append(f"{health.unreadable_lines} incomplete or damaged lines were skipped")
    return lines
