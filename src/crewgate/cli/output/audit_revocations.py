"""The output of `crewgate audit --revocations`."""

from collections.abc import Callable
from typing import Final

from crewgate.audit.cluster_report import ClusterAuditReport
from crewgate.audit.query_results import RevocationEvent
from crewgate.cli.output.audit_listing import print_listing
from crewgate.cli.output.tables import utc

_BY: Final = {"owner": "a person or program there", "overrun": "the gateway: an overrun"}


def print_revocations(found: ClusterAuditReport, *, as_json: bool) -> None:
    """Print the revocations that each machine has recorded, as `print_listing`."""
    print_listing(
        found,
        "revocations",
        found.report.revocations,
        _COLUMNS,
        nothing="nothing was revoked",
        optional={"why"},
        as_json=as_json,
    )


def _cut(row: RevocationEvent) -> str:
    """Return how many calls and streams the machine ended, and after what time."""
    if row.cut_us is None:
        return f"{row.cuts}" if row.cuts else ""
    return f"{row.cuts} in {row.cut_us / 1000:.1f} ms" if row.cuts else "0"


_COLUMNS: Final[dict[str, Callable[[RevocationEvent], str]]] = {
    "time (UTC)": lambda row: utc(row.time),
    "machine": lambda row: row.machine,
    "what": lambda row: f"{row.target} {row.id}",
    "crew/role": lambda row: f"{row.crew}/{row.role}" if row.role else row.crew,
    "by": lambda row: _BY.get(row.by, row.by),
    "why": lambda row: row.reason,
    "calls ended": _cut,
}
