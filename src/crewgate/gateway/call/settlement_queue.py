"""The calls that ended of late: recorded with one system call, then settled, each once.

Recorded first: whatever kills the worker between the two, each call has a record, if only that of
its reservation, which the agent burns.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Protocol

from crewgate._native.permit import Permit
from crewgate.errors import AlreadySettledError


class CallRecordSink(Protocol):
    """Where records go."""

    def write_lines(self, lines: Sequence[bytes]) -> object:
        """Take records, each as its line."""


class LoopHooks(Protocol):
    """Whose turns these are."""

    def at_end(self, work: Callable[[], None]) -> None:
        """Do `work` once, at the end of this turn."""

    def when_idle(self, work: Callable[[], None]) -> None:
        """Do `work` once, when no socket is ready, or two milliseconds have passed."""


class SettlementQueue:
    """What is to be written and settled as soon as there is a moment."""

    def __init__(self, sink: CallRecordSink, loop_hooks: LoopHooks) -> None:
        self._sink = sink
        self._loop_hooks = loop_hooks
        self._lines: list[bytes] = []
        self._permits: list[tuple[Permit, int]] = []

    def enter(self, line: bytes, permit: Permit, cost: int) -> None:
        """Take the record of a call that has ended; what it did not cost of its price returns."""
        if not self._lines:
            self._loop_hooks.when_idle(self._close)
        self._lines.append(line)
        self._permits.append((permit, cost))

    def _close(self) -> None:
        lines, self._lines = self._lines, []
        permits, self._permits = self._permits, []
        try:
            self._sink.write_lines(lines)
        finally:
            for permit, cost in permits:
                with contextlib.suppress(AlreadySettledError):  # burned in this very moment
                    permit.settle(cost)
