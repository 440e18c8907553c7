"""What other processes of this machine report of their health, as long as they are connected.

The control process and the supervisor keep a connection to the agent's socket for owners; when it
ends, what they reported is void. Workers report over their own link (`guests`).
"""

from crewgate.core.health import Fact
from crewgate.link.owner_messages import Report, Source


class Reports:
    """The last report of each source, and who (a connection) made it."""

    def __init__(self) -> None:
        self._reports: dict[Source, tuple[object, tuple[Fact, ...], int]] = {}

    def __repr__(self) -> str:
        return f"<Reports {sorted(self._reports)}>"

    def hear(self, who: object, report: Report, boot_ns: int) -> None:
        """Take a report in the place of the one before it."""
        self._reports[report.source] = (who, tuple(report.facts), boot_ns)

    def leave(self, who: object) -> None:
        """The connection `who` has ended."""
        self._reports = {
            source: report for source, report in self._reports.items() if report[0] is not who
        }

    def of(self, source: Source) -> tuple[tuple[Fact, ...], int] | None:
        """The facts and when (CLOCK_BOOTTIME, nanoseconds); None if it is not connected."""
        report = self._reports.get(source)
        return None if report is None else report[1:]
