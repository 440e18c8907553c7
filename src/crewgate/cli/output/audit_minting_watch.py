"""The output of `crewgate audit --watch`: one document for a script, or a table for a person."""

import json
from collections.abc import Callable
from typing import Final

import click
import msgspec

from crewgate.audit.cluster_report import ClusterAuditReport
from crewgate.audit.query_results import MintingWatchEvent
from crewgate.cli.output import not_asked
from crewgate.cli.output.tables import open_console, print_table, table_of, utc
from crewgate.core.credits import format_credits

_MICRO: Final = "micro-"
_BY: Final = {"": "", "owner": "by a person on the machine", "watch": "by the watch"}


def print_watch(found: ClusterAuditReport, *, as_json: bool) -> None:
    """Print the steps of the minting watch on standard output, newest last.

    Exit with status 1 if some machine gave no answer.
    """
    rows, missing = found.report.watch, found.not_asked
    if as_json:
        machines = {"machines": found.machines, "not_asked": not_asked.document(missing)}
        click.echo(json.dumps({"watch": msgspec.to_builtins(rows)} | machines, indent=2))
    else:
        columns = dict(_COLUMNS)
        if found.is_of_one:
            del columns["machine"]
        if rows:
            print_table(open_console(), table_of(columns, rows))
        else:
            click.echo("the minting watch saw nothing unusual")
        for line in not_asked.lines(missing):
            click.echo(line)
    not_asked.exit_if_any(missing)


def _why(row: MintingWatchEvent) -> str:
    """Return which measure was out of bounds, or who took the step; credits are decimal."""
    if not row.measure:
        return _BY.get(row.by, f"by {row.by}")
    measure = row.measure.removeprefix(_MICRO)
    show: Callable[[int], str] = str if measure == row.measure else format_credits
    if row.usual is None:
        return f"{measure} {show(row.value)}, ceiling {show(row.limit)}"
    return f"{measure} {show(row.value)}, limit {show(row.limit)}, usual {show(row.usual)}"


_COLUMNS: Final[dict[str, Callable[[MintingWatchEvent], str]]] = {
    "time (UTC)": lambda row: utc(row.time),
    "machine": lambda row: row.machine,
    "orchestrator": lambda row: row.orchestrator,
    "step": lambda row: row.step,
    "level": lambda row: row.level if row.was == row.level else f"{row.was} → {row.level}",
    "in force": lambda row: row.in_force,
    "why": _why,
    "branch": lambda row: row.branch,
}
