"""The output about a quarantine, for a person."""

from datetime import UTC, datetime

from crewgate.cli.output.revocation import never_seen_lines
from crewgate.core.terminal_text import printable
from crewgate.ipc.admin_messages import QuarantineResult


def lines(orchestrator: str, done: QuarantineResult, *, lift: bool = False) -> list[str]:
    """Return what holds now of an orchestrator whose quarantine was set or lifted."""
    text = "not quarantined; it can start branches again"
    if not lift:
        end = datetime.fromtimestamp(done.row.until, UTC)
        text = (
            f"quarantined until {end:%Y-%m-%d %H:%M}Z; it cannot start branches, and live branches "
            "continue"
        )
    never_seen = never_seen_lines(done.never_seen, done.never_seen_on, done.machines)
    return [f"{printable(orchestrator)}: {text}", *never_seen]
