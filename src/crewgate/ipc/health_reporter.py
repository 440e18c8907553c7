"""Reports the health of one process to the agent, over a connection of its own.

Blocking, and brief: a report that the agent does not take at once is dropped, and the next one
tries again. When this process ends, however it ends, so does what it has reported.
"""

from collections.abc import Sequence
from pathlib import Path

from crewgate import limits
from crewgate.core.health import HealthFact
from crewgate.errors import LinkError
from crewgate.ipc.admin_client import AdminClient
from crewgate.ipc.admin_messages import ReportSource


class HealthReporter:
    """Reports as `source` to the agent whose state is in `folder`."""

    def __init__(self, folder: Path, source: ReportSource) -> None:
        self._folder = folder
        self._source = source
        self._owner: AdminClient | None = None

    def __repr__(self) -> str:
        return f"<Reporter of {self._source} {'connected' if self._owner else 'alone'}>"

    def report(self, facts: Sequence[HealthFact]) -> bool:
        """Whether the agent has them, as far as a socket can tell."""
        for _ in range(2):  # an agent that was restarted has hung up on the connection before
            try:
                if self._owner is None:
                    self._owner = AdminClient(self._folder, limits.health_report_seconds_max)
                self._owner.report(self._source, facts)
            except LinkError:
                self.close()
            else:
                return True
        return False

    def close(self) -> None:
        """Hang up."""
        if self._owner is not None:
            self._owner.close()
            self._owner = None
