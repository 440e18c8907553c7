"""The output of `crewgate audit --rules`: one document for a script, or a table for a person."""

from collections.abc import Callable

from crewgate.audit.cluster_report import ClusterAuditReport
from crewgate.audit.query_results import RecordedRuleStep
from crewgate.cli.output.audit_listing import print_listing
from crewgate.cli.output.tables import utc
from crewgate.core.credits import format_credits
from crewgate.core.rules.rule import RuleKind


def print_steps(found: ClusterAuditReport, *, as_json: bool) -> None:
    """Print the steps of rules on branches, as `print_listing`."""
    print_listing(
        found,
        "rules",
        found.report.rules,
        _COLUMNS,
        nothing="no rule on branches took a step",
        optional={"machine", "called by"},
        numbers=("count", "limit"),
        as_json=as_json,
    )


def _amount(row: RecordedRuleStep, amount: int) -> str:
    return format_credits(amount) if row.rule_kind is RuleKind.CREDITS_PER_MINUTE else str(amount)


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
