"""Overruns that the agent has not noted yet: kept until it says so, over its restarts.

Each is sent once a connection. Knows no sockets. Beyond a bound they are lost: counted, and said
when that begins and when it is over.
"""

import logging
from collections import deque

from crewgate import limits
from crewgate.ipc.attach_messages import ReportOverrun

_log = logging.getLogger(__name__)


class PendingOverruns:
    """The overruns of one worker."""

    def __init__(self) -> None:
        self._kept: dict[bytes, ReportOverrun] = {}
        self._unsent: deque[ReportOverrun] = deque()
        self._lost = 0  # since nothing was kept

    def __repr__(self) -> str:
        return f"<PendingOverruns {len(self._kept)} unsent={len(self._unsent)} lost={self._lost}>"

    def keep(self, told: ReportOverrun) -> bool:
        """Keep it until it is `noted`; False if there is no room."""
        if len(self._kept) < limits.overruns_kept_max:
            self._kept[told.id] = told
            return True
        self._lost += 1
        if self._lost == 1:
            _log.warning(
                "%d overruns wait for the agent, and there is no room for more: branches may go on "
                "whose tools state too much; the audit has overrun_micro",
                len(self._kept),
            )
        return False

    def put_off(self, told: ReportOverrun) -> None:
        """It could not be sent yet."""
        self._unsent.append(told)

    def begin_again(self) -> None:
        """There is a new connection: nothing was sent over it yet."""
        self._unsent = deque(self._kept.values())

    def next(self) -> ReportOverrun | None:
        """What is to be sent now."""
        return self._unsent.popleft() if self._unsent else None

    def noted(self, identifier: bytes) -> None:
        """The agent has it."""
        self._kept.pop(identifier, None)
        if self._lost and not self._kept:
            lost, self._lost = self._lost, 0
            _log.warning("%d overruns were never told to the agent; there is room again", lost)
