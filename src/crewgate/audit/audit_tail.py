"""Reads new lines of all audit files of a folder, in batches, from a position.

Finished files come first, the oldest before the others, since a rotation may delete them. Then the
files that processes write now share each batch. Nothing is locked: a lock of an audit file belongs
to its writer. Blocks; one thread at a time calls the methods.
"""

import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Generic, TypeVar

import msgspec
from msgspec import Meta

from crewgate import limits
from crewgate.audit import folder as audit_folder
from crewgate.audit.audit_entry import AuditEntry, parse
from crewgate.runtime.cleanup import lent

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


class Batch(msgspec.Struct):
    """Entries to handle together; `ends` has the offset after them in each file.

    `unreadable` counts lines that are no records, such as those that a power loss has cut. Of the
    entries that the receiver wants, it has taken or refused the first `settled` ones.
    """

    entries: list[AuditEntry] = []
    ends: dict[str, int] = {}
    bytes: int = 0
    unreadable: int = 0
    settled: int = 0

    @property
    def room(self) -> int:
        """How many records may be added."""
        is_full = self.bytes >= limits.audit_batch_bytes_max
        return 0 if is_full else limits.audit_batch_records_max - len(self.entries)


class AuditTail(Generic[Position]):
    """The unread lines of the files in `folder`, after `position`, which `commit` moves.

    `backlog_bytes` is how much no receiver has, as far as the last look knows. Other threads may
    read it, and nothing else.
    """

    def __init__(
        self,
        folder: Path,
        position: Position,
        now: Callable[[], float] = time.monotonic,
        is_wanted: Callable[[bytes], bool] | None = None,
    ) -> None:
        """Skip each line that `is_wanted` rejects before it is decoded."""
        self.position = position
        self._is_wanted = is_wanted
        self.backlog_bytes = 0
        self._folder = folder
        self._now = now
        self._looked_at = -math.inf
        self._finished: list[str] = []  # of the last look, the oldest first
        self._current: list[str] = []
        self._next = {name: each.offset for name, each in position.files.items()}
        self._cut: dict[str, int] = {}  # file -> its size when it had no whole line
        self._losses = (0, 0)

    def read(self, batch: Batch) -> None:
        """Add unread lines to `batch` until it is full or there are no more."""
        self.look()
        for name in self._finished:
            if batch.room:
                self._read_file(name, batch, batch.room)
        live = [name for name in self._current if self._is_unread(name)]
        for done, name in enumerate(live):
            if batch.room:
                self._read_file(name, batch, max(1, batch.room // (len(live) - done)))

    def commit(self, batch: Batch) -> None:
        """Note that the receiver has the batch."""
        for name, end in batch.ends.items():
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
        self._current = [name for name in names if name in current]
        self._finished = [name for name in names if name not in current]

    def _count_backlog(self) -> None:
        files = self.position.files.items()
        self.backlog_bytes = sum(
            each.size - each.offset for name, each in files if name not in self._cut
        )

    def _grow(self, name: str, size: int) -> None:
        known = self.position.files.setdefault(name, FilePosition())
        if size < self._next.setdefault(name, 0):  # another file under its name
            known.offset, self._next[name] = 0, 0
        known.size = size
        if self._cut.get(name, size) != size:
            del self._cut[name]

    def _forget(self, names: set[str]) -> None:
        """Drop files that were deleted, and count what they had."""
        for name in [each for each in self.position.files if each not in names]:
            lost = self.position.files.pop(name).size - self._next.pop(name)
            if self._cut.pop(name, None) is None and lost > 0:
                self._losses = self._losses[0] + lost, self._losses[1] + 1

    def _is_unread(self, name: str) -> bool:
        return name not in self._cut and self.position.files[name].size > self._next[name]

    def _read_file(self, name: str, batch: Batch, records_max: int) -> None:
        """Add at most so many lines of a file to the batch."""
        start = self._next[name]
        wanted = min(self.position.files[name].size - start, limits.audit_batch_bytes_max)
        if wanted <= 0 or name in self._cut:
            return
        try:
            with lent(os.open(self._folder / name, os.O_RDONLY | os.O_CLOEXEC)) as descriptor:
                data = os.pread(descriptor, wanted, start)
        except OSError:  # it was deleted; the next look counts it
            return
        end = data.rfind(b"\n")
        if end < 0 and len(data) < limits.audit_batch_bytes_max:
            self._cut[name] = start + len(data)
            return
        # So many bytes without a newline are damage.
        # Of lines that are mostly skipped, all are looked at.
        splits_max = records_max if self._is_wanted is None else -1
        lines = [data] if end < 0 else data[:end].split(b"\n", splits_max)
        at, left = start, records_max
        for line in lines:
            if self._is_wanted is None or self._is_wanted(line):
                if not left:
                    break
                left -= 1
                entry = parse(line, name, at)
                if entry is not None:
                    batch.entries.append(entry)
                elif line:  # an empty line follows one that was cut
                    batch.unreadable += 1
            at += len(line) + 1
        at = min(at, start + len(data))
        batch.bytes += at - start
        batch.ends[name] = self._next[name] = at
