"""Keeps how far a reader is in each audit file of a folder, and what it could not read in time.

Nothing is locked: a lock of an audit file belongs to its writer. Blocks; one thread at a time calls
the methods.
"""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Generic, TypeVar

import msgspec
from msgspec import Meta

from crewgate import limits
from crewgate.audit import folder as audit_folder

_Count = Annotated[int, Meta(ge=0)]


class FilePosition(msgspec.Struct):
    """Of one audit file: the bytes that a reader is done with, and those that it last saw."""

    offset: _Count = 0
    size: _Count = 0


class AuditPosition(msgspec.Struct):
    """Of one reader: the position in each audit file by its name, and what it has never read.

    `lost_files` files were deleted before all was read; `lost_bytes` counts at least what they had.
    """

    files: dict[str, FilePosition] = {}
    lost_bytes: _Count = 0
    lost_files: _Count = 0


Position = TypeVar("Position", bound=AuditPosition)


class FileProgress(Generic[Position]):
    """The files in `folder`, and how far a reader is done with each (`position`).

    `finished` and `current` have the names of the last look, the oldest first: a file is finished
    if its process has a newer one. `backlog_bytes` is how much the reader is not done with. Other
    threads may read it, and nothing else.
    """

    def __init__(
        self, folder: Path, position: Position, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.position = position
        self.backlog_bytes = 0
        self.finished: list[str] = []
        self.current: list[str] = []
        self._folder = folder
        self._now = now
        self._looked_at = -math.inf
        self._next = {name: each.offset for name, each in position.files.items()}
        self._cut: dict[str, int] = {}  # file -> its size when it had no whole line
        self._losses = (0, 0)

    def done(self, name: str, end: int) -> None:
        """Note that the reader is done with a file up to `end`."""
        if name in self.position.files:
            self.position.files[name].offset = end
        self._count_backlog()

    def take_losses(self) -> tuple[int, int]:
        """Return how many bytes of how many files were deleted before they were read."""
        losses, self._losses = self._losses, (0, 0)
        self.position.lost_bytes += losses[0]
        self.position.lost_files += losses[1]
        return losses

    def look_at_once(self) -> None:
        """Have the next `read` look for new lines, also if the last look was a moment ago."""
        self._looked_at = -math.inf

    def look(self) -> None:
        """Look for new files, longer files and deleted files, at most once a second."""
        now = self._now()
        if now - self._looked_at < limits.audit_look_seconds:
            return
        self._looked_at = now
        names: list[str] = []
        newest: dict[str, str] = {}  # process -> file
        for path in audit_folder.files(self._folder):
            try:
                size = path.stat().st_size
            except OSError:
                continue
            self._grow(path.name, size)
            names.append(path.name)
            newest[audit_folder.process_of(path)] = path.name
        self._forget(set(names))
        self._count_backlog()
        current = set(newest.values())
        self.current = [name for name in names if name in current]
        self.finished = [name for name in names if name not in current]

    def _count_backlog(self) -> None:
        files = self.position.files.items()
        self.backlog_bytes = sum(
            each.size - each.offset for name, each in files if name not in self._cut
        )

    def _grow(self, name: str, size: int) -> None:
        known = self.position.files.setdefault(name, FilePosition())
        if size < self._next.setdefault(name, 0):
            self._begin_again(name, known)
        known.size = size
        if self._cut.get(name, size) != size:
            del self._cut[name]

    def _begin_again(self, name: str, known: FilePosition) -> None:
        """Note that a file is shorter than it was: it is another one under the same name."""
        known.offset, self._next[name] = 0, 0

    def _forget(self, names: set[str]) -> None:
        """Drop files that were deleted, and count what they had."""
        for name in [each for each in self.position.files if each not in names]:
            lost = self.position.files.pop(name).size - self._next.pop(name)
            if self._cut.pop(name, None) is None and lost > 0:
                self._losses = self._losses[0] + lost, self._losses[1] + 1
