"""Fakes for the audit's tests: a clock that is set, a disk that fills, and simple records."""

import errno
import os
from collections.abc import Callable
from datetime import UTC, datetime

from crewgate.audit.writer import AuditWriter
from crewgate.core.audit.records import ServiceEvent


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


def opening(writer: AuditWriter, run: Callable[[Callable[[], None]], None]) -> AuditWriter:
    """The writer, which has its next files opened by `run` and not in a thread."""
    writer._next._run = run
    return writer


def at_once(work: Callable[[], None]) -> None:
    """In the place of a thread: the caller waits."""
    work()


class Later:
    """In the place of a thread: what it was asked for is done when a test says so."""

    def __init__(self) -> None:
        self.asked: list[Callable[[], None]] = []

    def __call__(self, work: Callable[[], None]) -> None:
        """Keep it."""
        self.asked.append(work)

    def do(self) -> None:
        """All of it."""
        asked, self.asked = self.asked, []
        for work in asked:
            work()


def make_event(text: str) -> ServiceEvent:
    """An event with some text."""
    return ServiceEvent(time=datetime(2026, 11, 24, tzinfo=UTC), event="test", detail=text)
