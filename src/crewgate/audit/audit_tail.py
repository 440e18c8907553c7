"""Reads new lines of all audit files of a folder, in batches, from a position.

Finished files come first, the oldest before the others, since a rotation may delete them. Then the
files that processes write now share each batch. Nothing is locked: a lock of an audit file belongs
to its writer. Blocks; one thread at a time calls the methods.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from crewgate import limits
from crewgate.audit.audit_entry import AuditEntry, parse
from crewgate.audit.file_progress import FileProgress, Position
from crewgate.runtime.cleanup import lent


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


class AuditTail(FileProgress[Position]):
    """The unread lines of the files in `folder`, after `position`, which `commit` moves."""

    def __init__(
        self,
        folder: Path,
        position: Position,
        now: Callable[[], float] = time.monotonic,
        is_wanted: Callable[[bytes], bool] | None = None,
    ) -> None:
        """Skip each line that `is_wanted` rejects before it is decoded."""
        super().__init__(folder, position, now)
        self._is_wanted = is_wanted

    def read(self, batch: Batch) -> None:
        """Add unread lines to `batch` until it is full or there are no more."""
        self.look()
        for name in self.finished:
            if batch.room:
                self._read_file(name, batch, batch.room)
        live = [name for name in self.current if self._is_unread(name)]
        for done, name in enumerate(live):
            if batch.room:
                self._read_file(name, batch, max(1, batch.room // (len(live) - done)))

    def commit(self, batch: Batch) -> None:
        """Note that the receiver has the batch."""
        for name, end in batch.ends.items():
            self.done(name, end)

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
