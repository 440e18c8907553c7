"""`crewgate audit --connections`: connections that the gateway refused before it read any HTTP.

The client chose the serial and the subject of its certificate, so they pass `printable`, like every
text from outside.
"""

import json
from collections.abc import Callable

import click
import msgspec
from rich.text import Text

from crewgate.audit.filters import AuditFilter
from crewgate.audit.queries import AuditQueries
from crewgate.audit.query_results import AuditGaps, RejectedConnection, UnauthenticatedRefusals
from crewgate.cli.output.tables import cells, open_console, print_table, table_of, utc
from crewgate.core.verdict import ConnectionRefusalReason

_REASONS = frozenset(reason.value for reason in ConnectionRefusalReason)


def _holder(row: RejectedConnection) -> str:
    return f"{row.orchestrator}#{row.branch}" if row.branch else row.orchestrator


def _claimed(row: RejectedConnection) -> str:
    """Return what to print instead of a proven holder; "-" if no certificate is known."""
    return "(unproven)" if row.serial else "-"


_COLUMNS: dict[str, Callable[[RejectedConnection], str]] = {
    "time (UTC)": lambda row: utc(row.time),
    "listener": lambda row: row.listener,
    "from": lambda row: row.peer,
    "verdict": lambda row: f"{row.verdict} {row.reason}",
    "who": lambda row: _holder(row) or ("" if row.proven else _claimed(row)),
    "serial": lambda row: row.serial,
    "subject": lambda row: row.subject,
}


class AuditConnectionsReport(msgspec.Struct, frozen=True):
    """The whole output of the command; `counted` are refusals beyond the limit of the log."""

    connections: list[RejectedConnection]
    counted: list[UnauthenticatedRefusals]
    health: AuditGaps


def ask(audit: AuditQueries, question: AuditFilter) -> AuditConnectionsReport:
    """Query the audit once for each part of the output."""
    is_unfiltered = question.crew is None and question.certificate is None
    counted = audit.refusals(question.since) if is_unfiltered else []
    return AuditConnectionsReport(
        audit.connections(question),
        [one for one in counted if one.reason in _REASONS],
        audit.health(question.since),
    )


def print_connections(answer: AuditConnectionsReport, *, as_json: bool) -> None:
    """Print one JSON document, or a table."""
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(answer), indent=2))
        return
    console = open_console()
    if answer.connections:
        print_table(console, table_of(_COLUMNS, answer.connections))
    else:
        console.print(Text("no connection was refused or ended because of its certificate"))
    for one in answer.counted:
        place = f"{one.reason} at {one.listener} from {one.peer}"
        console.print(*cells(f"{one.count} more were only counted: {place}"))
    if answer.health.lost_records:
        lost = f"{answer.health.lost_records} records were lost while the disk was full"
        console.print(Text(lost))
