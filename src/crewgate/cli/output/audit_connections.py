"""`crewgate audit --connections`: who was turned away before a byte of HTTP was read, and why.

A serial and a subject are the words of whoever showed the certificate, so they pass `printable`
like every text from outside.
"""

import json

import click
import msgspec
from rich.text import Text

from crewgate.audit.filters import AuditFilter
from crewgate.audit.reader import AuditGaps, AuditReader, RefusalSummary, RejectedConnection
from crewgate.cli.output.tables import cells, new_table, open_console, print_table, utc
from crewgate.core.verdict import PeerReason

_REASONS = frozenset(reason.value for reason in PeerReason)


class RejectedConnections(msgspec.Struct, frozen=True):
    """Everything that the command says; `counted` are those beyond what a log can take."""

    connections: list[RejectedConnection]
    counted: list[RefusalSummary]
    health: AuditGaps


def ask(audit: AuditReader, question: AuditFilter) -> RejectedConnections:
    """Ask once for each part of the answer."""
    anybody = question.crew is None and question.certificate is None
    counted = audit.refusals(question.since) if anybody else []
    return RejectedConnections(
        audit.connections(question),
        [one for one in counted if one.reason in _REASONS],
        audit.health(question.since),
    )


def print_connections(answer: RejectedConnections, *, as_json: bool) -> None:
    """One JSON document, or a table."""
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(answer), indent=2))
        return
    console = open_console()
    table = new_table("time (UTC)", "listener", "from", "verdict", "who", "serial", "subject")
    for row in answer.connections:
        verdict = f"{row.verdict} {row.reason}"
        who = row.orchestrator or ("" if row.proven else "(unproven)")
        texts = (utc(row.time), row.listener, row.peer, verdict, who, row.serial, row.subject)
        table.add_row(*cells(*texts))
    if answer.connections:
        print_table(console, table)
    else:
        console.print(Text("no connection was refused or ended for its certificate"))
    for one in answer.counted:
        place = f"{one.reason} at {one.listener} from {one.peer}"
        console.print(*cells(f"and {one.count} more without a line of their own: {place}"))
    if answer.health.lost_records:
        lost = f"{answer.health.lost_records} records were lost while the disk was full"
        console.print(Text(lost))
