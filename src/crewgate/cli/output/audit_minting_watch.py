"""The output of `crewgate audit --watch`: one document for a script, or a table for a person."""

from collections.abc import Callable
from typing import Final

from crewgate.audit.cluster_report import ClusterAuditReport
from crewgate.audit.query_results import MintingWatchEvent
from crewgate.cli.output.audit_listing import print_listing
from crewgate.cli.output.tables import utc
from crewgate.core.credits import format_credits

_MICRO: Final = "micro-"
_BY: Final = {"": "", "owner": "by a person on the machine", "watch": "by the watch"}


def print_watch(found: ClusterAuditReport, *, as_json: bool) -> None:
    """Print the steps of the minting watch, as `print_listing`."""
    print_listing(
        found,
        "watch",
        found.report.watch,
        _COLUMNS,
        nothing="the minting watch saw nothing unusual",
        as_json=as_json,
    )


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
