"""What other processes of this machine report of their health, as long as they are connected.

The control process and the supervisor keep a connection to the agent's socket for owners; when it
ends, what they reported is void. Workers report over their own link (`guests`).
"""

from crewgate import limits
from crewgate.core.health import ComponentHealth
from crewgate.ipc.admin_messages import ReportHealth, ReportSource

_ABSENCE_NS = round(limits.health_silence_seconds * 1e9 / 2)


class HealthReports:
    """The last report of each source, and who (a connection) made it."""

    def __init__(self) -> None:
        self._reports: dict[ReportSource, tuple[object, tuple[ComponentHealth, ...], int]] = {}
        self._listened_ns = 0
        self._absent_until_ns = 0

    def listen(self, boot_ns: int) -> int:
        """Note that the agent reads reports now; return for how long (ns) it could read none.

        It returns 0 unless that was long. While the agent was stopped, no report could reach it, so
        `silent_ns` does not count that time as the silence of another process.
        """
        absent_ns = boot_ns - self._listened_ns if self._listened_ns else 0
        self._listened_ns = boot_ns
        if absent_ns <= _ABSENCE_NS:
            return 0
        self._absent_until_ns = boot_ns
        return absent_ns

    def silent_ns(self, heard_ns: int, boot_ns: int) -> int:
        """How long a process that was heard then has said nothing that could be heard."""
        return boot_ns - max(heard_ns, self._absent_until_ns)

    def update(self, who: object, report: ReportHealth, boot_ns: int) -> None:
        """Take a report in the place of the one before it."""
        self._reports[report.source] = (who, tuple(report.facts), boot_ns)

    def leave(self, who: object) -> None:
        """The connection `who` has ended."""
        self._reports = {
            source: report for source, report in self._reports.items() if report[0] is not who
        }

    def of(self, source: ReportSource) -> tuple[tuple[ComponentHealth, ...], int] | None:
        """The facts and when (CLOCK_BOOTTIME, nanoseconds); None if it is not connected."""
        report = self._reports.get(source)
        return None if report is None else report[1:]
