"""`crewgate audit --connections`: connections that the gateway refused before it read any HTTP.

The client chose the serial and the subject of its certificate, so they pass `printable`, like every
text from outside.
"""

import json
from collections.abc import Callable

import click
import msgspec
from rich.text import Text

from crewgate.audit.cluster_report import ClusterAuditReport
from crewgate.audit.query_results import RejectedConnection
from crewgate.cli.output import not_asked
from crewgate.cli.output.tables import cells, open_console, print_table, table_of, utc


def _holder(row: RejectedConnection) -> str:
    return f"{row.orchestrator}#{row.branch}" if row.branch else row.orchestrator


def _claimed(row: RejectedConnection) -> str:
    """Return what to print instead of a proven holder; "-" if no certificate is known."""
    return "(unproven)" if row.serial else "-"


_COLUMNS: dict[str, Callable[[RejectedConnection], str]] = {
    "time (UTC)": lambda row: utc(row.time),
    "machine": lambda row: row.machine,
    "listener": lambda row: row.listener,
    "from": lambda row: row.peer,
    "verdict": lambda row: f"{row.verdict} {row.reason}",
    "who": lambda row: _holder(row) or ("" if row.proven else _claimed(row)),
    "serial": lambda row: row.serial,
    "subject": lambda row: row.subject,
}


def print_connections(found: ClusterAuditReport, *, as_json: bool) -> None:
    """Print one JSON document, or a table; exit with status 1 if some machine gave no answer."""
    if as_json:
        members = msgspec.to_builtins(found.report)
        document = {
            "connections": members.get("connections", []),
            "counted": members.get("refusals", []),
            "health": members["health"],
            "machines": found.machines,
            "not_asked": not_asked.document(found.not_asked),
        }
        click.echo(json.dumps(document, indent=2))
    else:
        _print(found)
    not_asked.exit_if_any(found.not_asked)


def _print(found: ClusterAuditReport) -> None:
    console, answer = open_console(), found.report
    if answer.connections:
        columns = dict(_COLUMNS)
        if found.is_of_one:
            del columns["machine"]
        print_table(console, table_of(columns, answer.connections))
    else:
        console.print(Text("no connection was refused or ended because of its certificate"))
    for one in answer.refusals:
        place = f"{one.reason} at {one.listener} from {one.peer}"
        console.print(*cells(f"{one.count} more were only counted: {place}"))
    if answer.health is not None and answer.health.lost_records:
        lost = f"{answer.health.lost_records} records were lost while the disk was full"
        console.print(Text(lost))
    for line in not_asked.lines(found.not_asked):
        console.print(Text(line), soft_wrap=True)
