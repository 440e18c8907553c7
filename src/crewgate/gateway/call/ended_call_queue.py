"""Records the calls that have just ended with one system call, then settles each of them once.

The record is written before the reservation is settled. If the worker dies between the two, the
agent finds the reservation and burns it, with a record of its own: no call is without one.
"""

import contextlib

from crewgate._datapath.socket_poller import SocketPoller
from crewgate._native.metrics import BATCH_CALLS_MAX, CallBatch
from crewgate._native.permit import Permit
from crewgate.audit.recorder import AuditRecorder
from crewgate.errors import AlreadySettledError


class EndedCallQueue:
    """The calls that have ended since the worker was last idle.

    `calls` are those that the metrics count once their lines are written: put a call there after
    its line.
    """

    def __init__(self, sink: AuditRecorder, poller: SocketPoller) -> None:
        self._sink = sink
        self._poller = poller
        self._lines: list[bytes] = []
        self._permits: list[tuple[Permit, int]] = []
        self.calls = CallBatch()

    def add(self, line: bytes, permit: Permit, cost: int) -> None:
        """Take an ended call: its audit record, and its cost in micro-credits.

        What the call had reserved beyond its cost goes back to the branch's lease.
        """
        if len(self._lines) == BATCH_CALLS_MAX:
            self._flush()
        if not self._lines:
            self._poller.when_idle(self._flush)
        self._lines.append(line)
        self._permits.append((permit, cost))

    def _flush(self) -> None:
        lines, self._lines = self._lines, []
        permits, self._permits = self._permits, []
        try:
            self._sink.write_lines(lines, self.calls)
        finally:
            self.calls.clear()
            for permit, cost in permits:
                with contextlib.suppress(AlreadySettledError):  # burned at this very moment
                    permit.settle(cost)
