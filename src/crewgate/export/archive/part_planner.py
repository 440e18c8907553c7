"""Says which part of which audit file the archive gets next. Blocks; one thread calls the methods.

A file that its process has left is due at once, and so is a part that fills an object. In a
*round*, which begins when lines have waited for some time, the archive gets all whole lines of all
files, and then the checkpoints that were there when the round began.
"""

import errno
import math
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

from crewgate import limits
from crewgate.audit.file_part import FilePart
from crewgate.export.archive.archive_position import ArchiveProgress
from crewgate.export.archive.checkpoint_log_reader import CheckpointLogReader
from crewgate.export.archive.object_names import LogPart
from crewgate.runtime.cleanup import lent


class PartPlanner:
    """The parts of the audit in `folder`. `due_bytes` is how much the archive should have now."""

    def __init__(
        self,
        folder: Path,
        progress: ArchiveProgress,
        flush_seconds: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.due_bytes = 0
        self._folder = folder
        self._progress = progress
        self._log = CheckpointLogReader(folder)
        self._flush_seconds = flush_seconds
        self._now = now
        self._round: dict[str, int] | None = None  # file -> its end in this round
        self._log_parts: list[LogPart] = []
        self._part_bytes_max = limits.archive_part_bytes_max
        self._waiting_since: float | None = None
        self._has_looked = False
        self._irregular: set[str] = set()  # links and the like in the place of files

    def look(self) -> None:
        """Look at the files, and begin a round if one is due. Raises OSError."""
        self._progress.look()
        self._log.read_on()
        if self._waiting_since is None and self.is_anything_waiting:
            # What waits at the start of the process has waited before.
            self._waiting_since = self._now() if self._has_looked else -math.inf
        self._has_looked = True
        waiting = filter(self._progress.left, self._progress.names)
        self._irregular = {name for name in waiting if not self._is_file(name)}
        since = self._waiting_since
        if since is not None and self._round is None and self._now() - since >= self._flush_seconds:
            self.begin_round()
        files = self._progress.position.files
        self.due_bytes = sum(
            self._limit(name) - files[name].offset for name in self._progress.names
        )

    @property
    def is_anything_waiting(self) -> bool:
        """Whether the archive lacks lines or checkpoints."""
        position = self._progress.position
        is_log = position.log_from and self._log.parts(position.log_from, position.log)
        return bool(is_log) or any(map(self._progress.left, self._progress.names))

    def begin_round(self) -> None:
        """Have the archive get all whole lines, and the checkpoints. Raises OSError."""
        position = self._progress.position
        self._log.read_on()
        if not position.log_from:
            position.log_from = self._log.newest_file
        self._log_parts = self._log.parts(position.log_from, position.log)
        # Later than the checkpoints, so no file is shorter than they say.
        self._progress.look_at_once()
        self._progress.look()
        self._round = {}
        for name in self._progress.names:
            known = position.files[name]
            mark = self._log.marks.get(name)
            # A checkpoint covers what was there, perhaps a part of a line.
            signed = 0 if mark is None else min(mark.bytes, known.size)
            self._round[name] = max(self._last_line_end(name, known.offset, known.size), signed)

    def next_part(self) -> FilePart | None:
        """Return the part that the archive gets next; None if nothing is due. Raises OSError."""
        position = self._progress.position
        pending = position.pending
        if pending is not None:
            if self._fits(pending):
                return pending
            position.pending = None
        for name in self._progress.names:
            offset = position.files[name].offset
            end = self._limit(name)
            if end > offset:
                return FilePart(name, offset, self._bounded(name, offset, end))
        return None

    def next_log_part(self) -> LogPart | None:
        """Return the part of the checkpoints that is next, once the round has all else."""
        return self._log_parts[0] if self._round is not None and self._log_parts else None

    def rename_log_part(self, part: LogPart) -> None:
        """Have the next part of the checkpoints keep another name until it is stored."""
        self._log_parts[0] = part

    def log_part_stored(self, part: LogPart) -> None:
        """Note that the archive has a part of the checkpoints."""
        self._progress.position.log[part.file] = part.end
        self._log_parts = [each for each in self._log_parts if each != part]

    def end_round(self) -> None:
        """Note that nothing of the round is left. What has come since then begins to wait now."""
        if self._round is not None:
            self._round = None
            self._waiting_since = None

    def has_log_file(self, name: str) -> bool:
        """Return whether a file of the checkpoints is there. Raises OSError."""
        return (self._folder / name).exists()

    def read_log_part(self, part: LogPart) -> bytes | None:
        """Return a part of the checkpoints; None if the file has not all of it. Raises OSError."""
        try:
            descriptor = os.open(self._folder / part.file, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        with lent(descriptor):
            # The name of an object that anybody has put there may have any end.
            if os.fstat(descriptor).st_size < part.end:
                return None
            data = os.pread(descriptor, part.end - part.begin, part.begin)
        return data if len(data) == part.end - part.begin else None

    def shrink_parts(self) -> None:
        """Have the next parts be half as large, because the object of one could not be made."""
        least = min(limits.archive_part_bytes_min, limits.archive_part_bytes_max)
        self._part_bytes_max = max(self._part_bytes_max // 2, least)

    def grow_parts(self) -> None:
        """Have the next parts be twice as large, up to the bound."""
        self._part_bytes_max = min(2 * self._part_bytes_max, limits.archive_part_bytes_max)

    def is_in_use(self, name: str) -> bool:
        """Return whether this machine still adds to a file, or the archive lacks some of it."""
        is_there = name in self._progress.position.files
        return is_there and (not self._log.is_finished(name) or self._progress.left(name) > 0)

    def _limit(self, name: str) -> int:
        """Return the end of what is due of a file."""
        known = self._progress.position.files[name]
        if name in self._irregular:
            return known.offset
        if self._log.is_finished(name):
            return max(known.size, known.offset)
        if self._round is not None and self._round.get(name, 0) > known.offset:
            return self._round[name]
        is_full = known.size - known.offset >= limits.archive_part_bytes_max
        return known.offset + self._part_bytes_max if is_full else known.offset

    def _bounded(self, name: str, begin: int, end: int) -> int:
        """Return the end of a part that fills an object at most, and ends with a line if it can."""
        if end - begin < self._part_bytes_max:
            return end
        most = begin + self._part_bytes_max
        found = self._last_line_end(name, begin, most)
        return found if found > begin else most

    def _last_line_end(self, name: str, begin: int, end: int) -> int:
        """Return where the last whole line between two offsets ends; `begin` if there is none."""
        try:
            # What stands there in place of a file, such as a pipe, must not hold the thread.
            flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            descriptor = os.open(self._folder / name, flags)
        except OSError as error:
            if error.errno in {errno.ENOENT, errno.ELOOP, errno.ENXIO}:
                return begin
            raise
        with lent(descriptor):
            while end > begin:
                at = max(begin, end - limits.archive_piece_bytes_max)
                found = os.pread(descriptor, end - at, at).rfind(b"\n")
                if found >= 0:
                    return at + found + 1
                end = at
        return begin

    def _is_file(self, name: str) -> bool:
        try:
            return stat.S_ISREG((self._folder / name).lstat().st_mode)
        except FileNotFoundError:
            return False

    def _fits(self, part: FilePart) -> bool:
        known = self._progress.position.files.get(part.file)
        return known is not None and known.offset == part.begin and known.size >= part.end
