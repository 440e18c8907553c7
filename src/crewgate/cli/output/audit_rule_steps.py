"""The output of `crewgate audit --rules`: one document for a script, or a table for a person."""

import json
from collections.abc import Callable

import click
import msgspec

from crewgate.audit.cluster_report import ClusterAuditReport
from crewgate.audit.query_results import RecordedRuleStep
from crewgate.cli.output import not_asked
from crewgate.cli.output.tables import open_console, print_table, table_of, utc
from crewgate.core.credits import format_credits
from crewgate.core.rules.rule import RuleKind


def print_steps(found: ClusterAuditReport, *, as_json: bool) -> None:
    """Print the steps of rules on branches on standard output, newest last.

    Exit with status 1 if some machine gave no answer.
    """
    rows, missing = found.report.rules, found.not_asked
    if as_json:
        machines = {"machines": found.machines, "not_asked": not_asked.document(missing)}
        click.echo(json.dumps({"rules": msgspec.to_builtins(rows)} | machines, indent=2))
    else:
        if rows:
            columns = {
                name: text_of
                for name, text_of in _COLUMNS.items()
                if name not in _OPTIONAL or any(map(text_of, rows))
            }
            if found.is_of_one:
                columns.pop("machine", None)
            print_table(open_console(), table_of(columns, rows, numbers=("count", "limit")))
        else:
            click.echo("no rule on branches took a step")
        for line in not_asked.lines(missing):
            click.echo(line)
    not_asked.exit_if_any(missing)


def _amount(row: RecordedRuleStep, amount: int) -> str:
    return format_credits(amount) if row.rule_kind is RuleKind.CREDITS_PER_MINUTE else str(amount)


_OPTIONAL = {"machine", "called by"}
_COLUMNS: dict[str, Callable[[RecordedRuleStep], str]] = {
    "time (UTC)": lambda row: utc(row.time),
    "machine": lambda row: row.machine,
    "crew/role": lambda row: f"{row.crew}/{row.role}".rstrip("/"),
    "branch": lambda row: row.branch,
    "rule": lambda row: row.rule,
    "step": lambda row: row.step if row.finding.is_enforced else f"would {row.step}",
    "count": lambda row: _amount(row, row.count),
    "limit": lambda row: _amount(row, row.limit),
    "tool": lambda row: row.tool,
    "request": lambda row: row.request,
    "called by": lambda row: row.caller,
}
