"""Keeps overruns until the agent has acknowledged them, even if the agent restarts in between.

Each overrun is sent once per connection. Above a limit, new ones are lost: they are counted, and a
log line says when that begins and when it is over.
"""

import logging
from collections import deque

from crewgate import limits
from crewgate.ipc.attach_messages import ReportOverrun

_log = logging.getLogger(__name__)


class OverrunOutbox:
    """The unacknowledged overruns of one worker."""

    def __init__(self) -> None:
        self._kept: dict[bytes, ReportOverrun] = {}
        self._unsent: deque[ReportOverrun] = deque()
        self._lost = 0  # since the last time that none was kept

    def keep(self, report: ReportOverrun) -> bool:
        """Keep a report until it is `noted`; return False if there are too many."""
        if len(self._kept) < limits.overruns_kept_max:
            self._kept[report.id] = report
            return True
        self._lost += 1
        if self._lost == 1:
            _log.warning(
                "%d overruns wait for the agent, and new ones are not reported to it: their "
                "branches may continue; see overrun_micro in the audit log",
                len(self._kept),
            )
        return False

    def put_off(self, report: ReportOverrun) -> None:
        """Have `next` return a report that could not be sent at once."""
        self._unsent.append(report)

    def begin_again(self) -> None:
        """Have `next` return all reports again, because there is a new connection."""
        self._unsent = deque(self._kept.values())

    def next(self) -> ReportOverrun | None:
        """Return the next report to send; None if there is none."""
        return self._unsent.popleft() if self._unsent else None

    def noted(self, identifier: bytes) -> None:
        """Drop a report that the agent has acknowledged."""
        self._kept.pop(identifier, None)
        if self._lost and not self._kept:
            lost, self._lost = self._lost, 0
            _log.warning(
                "%d overruns were not reported to the agent; new ones are reported again", lost
            )
