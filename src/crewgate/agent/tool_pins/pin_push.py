"""Sends the pins to the workers: all of them to a new process, and then those that change.

Each change has a number, and each process remembers the number that it was sent last. So if a
process does not read and its queue is full, it lacks nothing: it gets the rest later.
"""

from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import NamedTuple

from crewgate import limits
from crewgate.agent.ipc_server.attachments import AttachedProcess, AttachedProcesses
from crewgate.core.mcp.pins.worker_pins import PinnedEndpoint, PinStatus
from crewgate.ipc.attach_messages import PinsPushed


class _NumberedPin(NamedTuple):
    number: int
    pin: PinStatus


class PinPush:
    """The pins in the order of their last changes, the oldest first."""

    def __init__(self, processes: AttachedProcesses) -> None:
        self._processes = processes
        self._pins: dict[tuple[str, str], _NumberedPin] = {}
        self._last_number = 0
        self._complete: Sequence[PinnedEndpoint] = ()

    def begin_again(self, pins: Iterable[PinStatus]) -> None:
        """Forget all pins, and have all processes replace theirs by these."""
        self._pins.clear()
        self.update(pins)
        for process in self._processes:
            process.pins_version = -1

    def update(self, pins: Iterable[PinStatus]) -> None:
        """Note pins that have changed."""
        for pin in pins:
            key = pin.endpoint, pin.name
            self._pins.pop(key, None)
            self._last_number += 1
            self._pins[key] = _NumberedPin(self._last_number, pin)

    def send_all(self, complete: Sequence[PinnedEndpoint]) -> None:
        """Send to each process what it lacks. `complete` has all endpoints with pins."""
        if complete != self._complete:
            self._complete = complete
        for process in self._processes:
            self.send(process)

    def send(self, process: AttachedProcess) -> bool:
        """Send to a process what it lacks; return whether it lacks nothing now."""
        if not process.takes_pins or self._is_current(process):
            return True
        later = takewhile(
            lambda each: each.number > process.pins_version, reversed(self._pins.values())
        )
        lacking = list(later)[::-1]
        size = limits.mcp_pins_in_push
        for first in range(0, max(1, len(lacking)), size):
            batch = lacking[first : first + size]
            is_last = first + size >= len(lacking)
            message = PinsPushed(
                begins=process.pins_version < 0,
                pins=[each.pin for each in batch],
                complete=list(self._complete) if is_last else None,
            )
            if not process.send(message):
                return False
            process.pins_version = self._last_number if is_last else batch[-1].number
        process.pins_complete = self._complete
        return True

    def _is_current(self, process: AttachedProcess) -> bool:
        is_sent = process.pins_version == self._last_number
        return is_sent and process.pins_complete is self._complete
