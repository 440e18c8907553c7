"""Keeps the health reports of the supervisor, and of the processes that carry no calls.

Each keeps a connection to the admin socket; when it ends, their report is dropped. Workers report
over the attach socket (`attach_session`).
"""

from crewgate import limits
from crewgate.core.health import ComponentHealth
from crewgate.ipc.admin_messages import ProcessHealthReport, ReportSource

_ABSENCE_NS = round(limits.health_silence_seconds * 1e9 / 2)


class NonWorkerHealthReports:
    """The last report of each source, and the connection that made it."""

    def __init__(self) -> None:
        self._reports: dict[ReportSource, tuple[object, tuple[ComponentHealth, ...], int]] = {}
        self._listened_ns = 0
        self._absent_until_ns = 0

    def listen(self, boot_ns: int) -> int:
        """Note that the agent reads reports now; return for how long (ns) it read none.

        Return 0 if that was short. While the agent was stopped, no report could reach it, so
        `silent_ns` does not count that time.
        """
        absent_ns = boot_ns - self._listened_ns if self._listened_ns else 0
        self._listened_ns = boot_ns
        if absent_ns <= _ABSENCE_NS:
            return 0
        self._absent_until_ns = boot_ns
        return absent_ns

    def silent_ns(self, received_ns: int, boot_ns: int) -> int:
        """Return for how long (ns) a process has not reported, if it last did at `received_ns`."""
        return boot_ns - max(received_ns, self._absent_until_ns)

    def update(self, connection: object, report: ProcessHealthReport, boot_ns: int) -> None:
        """Replace the report of a source."""
        self._reports[report.source] = (connection, tuple(report.facts), boot_ns)

    def leave(self, connection: object) -> None:
        """Drop the reports of a connection that has ended."""
        self._reports = {
            source: report
            for source, report in self._reports.items()
            if report[0] is not connection
        }

    def of(self, source: ReportSource) -> tuple[tuple[ComponentHealth, ...], int] | None:
        """Return a source's facts and their time (CLOCK_BOOTTIME, ns); None if not connected."""
        report = self._reports.get(source)
        return None if report is None else report[1:]
