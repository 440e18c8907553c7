"""Fakes for the audit's tests: a clock that is set, a disk that fills, and simple records."""

import errno
import os
from datetime import UTC, datetime

from crewgate.core.record import Event


class Clock:
    """A wall clock in nanoseconds that moves when told."""

    def __init__(self) -> None:
        self.ns = 1_800_000_000_000_000_000

    def __call__(self) -> int:
        """Now."""
        return self.ns

    def forward(self, seconds: float) -> None:
        """Let time pass."""
        self.ns += int(seconds * 1e9)


class Disk:
    """`os.write` with only so many bytes of room; the last write before the end is short."""

    def __init__(self) -> None:
        self.room: int | None = None
        self.failure = errno.ENOSPC

    def __call__(self, descriptor: int, data: bytes) -> int:
        """Write what fits; OSError when nothing does."""
        if self.room is None:
            return os.write(descriptor, data)
        if not self.room:
            raise OSError(self.failure, os.strerror(self.failure))
        count = os.write(descriptor, data[: self.room])
        self.room -= count
        return count


def make_event(text: str) -> Event:
    """An event with some text."""
    return Event(time=datetime(2026, 11, 24, tzinfo=UTC), event="test", detail=text)
