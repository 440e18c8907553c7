"""Reports the health of one process to the agent, over its own connection.

A report blocks only briefly: if the agent does not take it at once, it is dropped, and the next
one tries again. The last report holds until this process ends, in whatever way.
"""

from collections.abc import Sequence
from pathlib import Path

from crewgate import limits
from crewgate.core.health import ComponentHealth
from crewgate.errors import ServiceConnectionError
from crewgate.ipc.admin_client import AdminClient
from crewgate.ipc.admin_messages import ReportSource


class HealthReportClient:
    """Reports as `source` to the agent whose state is in `folder`.

    A report takes `seconds` at most. With 0, it never waits, so an event loop may send it.
    """

    def __init__(
        self, folder: Path, source: ReportSource, seconds: float = limits.health_report_seconds_max
    ) -> None:
        self._folder = folder
        self._source = source
        self._seconds = seconds
        self._client: AdminClient | None = None

    def report(self, facts: Sequence[ComponentHealth]) -> bool:
        """Report the facts; return whether the agent has them, as far as a socket can tell."""
        # The second attempt is for an agent that was restarted: its old connection has ended.
        for _ in range(2):
            try:
                if self._client is None:
                    self._client = AdminClient(self._folder, self._seconds)
                self._client.report(self._source, facts)
            except ServiceConnectionError:
                self.close()
            else:
                return True
        return False

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._client is not None:
            self._client.close()
            self._client = None
