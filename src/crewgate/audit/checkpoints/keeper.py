"""Makes the checkpoints of the audit folder of a machine while its gateway serves.

It reads what has been added to each file, so the processes that write the files do no work for it.
It signs only what is on the disk: a power loss never leaves a file shorter than its checkpoint.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from crewgate import limits
from crewgate.audit import folder as audit_folder
from crewgate.audit.checkpoints.checkpoint import FileMark
from crewgate.audit.checkpoints.log import CheckpointLog, NewestCheckpoint
from crewgate.audit.checkpoints.signing_key import CheckpointKey
from crewgate.runtime.cleanup import lent
from crewgate.runtime.durable_files import sync_folder

_PIECE = 2**17  # bytes


class _Running(NamedTuple):
    digest: Any  # of hashlib
    size: int  # bytes that are in it


class CheckpointKeeper:
    """The checkpoints of one audit folder. One thread at a time calls the methods, which block.

    `changed` has the names of files that are not as they were signed. Such a file gets no new mark,
    so `crewgate audit verify` finds it.
    """

    def __init__(
        self,
        folder: Path,
        state: Path,
        key: CheckpointKey,
        machine: str = "",
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Go on with the log that is in the folder. Raises OSError."""
        self.folder = folder
        self.changed: dict[str, None] = {}
        self._log = CheckpointLog(folder, state, key, machine)
        self._now = now
        self._running: dict[str, _Running] = {}

    @property
    def newest(self) -> NewestCheckpoint | None:
        """The newest checkpoint; None if there is none."""
        return self._log.newest

    @property
    def is_written(self) -> bool:
        """Whether a process may still write a file that is as it was signed."""
        marks = self._log.marks.values()
        return any(not mark.is_finished and mark.name not in self.changed for mark in marks)

    def take(self) -> bool:
        """Sign what is new; return whether anything was. Raises OSError."""
        now = self._now()
        found = {path.name: path for path in audit_folder.files(self.folder)}
        marks = []
        for name, path in found.items():
            before = self._log.marks.get(name)
            if name in self.changed or (before is not None and before.is_finished):
                continue
            mark = self._mark(path, before, now)
            if mark is not None and mark != before:
                marks.append(mark)
        gone = [name for name in self._log.marks if name not in found]
        if not marks and not gone:
            return False
        if gone:  # otherwise a power loss could bring them back
            sync_folder(self.folder)
        self._log.add(marks, gone, now)
        for name in [*gone, *(mark.name for mark in marks if mark.is_finished)]:
            self._running.pop(name, None)
        return True

    def close(self) -> None:
        """Close the log."""
        self._log.close()

    def _mark(self, path: Path, before: FileMark | None, now: datetime) -> FileMark | None:
        """Return the mark of a file as it is now; None if it is gone, or is not as it was."""
        try:
            # What stands there in place of a file, such as a pipe, must not hold the thread.
            flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            descriptor = os.open(path, flags)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno not in {errno.ELOOP, errno.ENXIO}:  # a symbolic link, a socket
                raise
            self.changed[path.name] = None
            return None
        with lent(descriptor):
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                self.changed[path.name] = None
                return None
            # Before its end is read: what is there when the process has left the file is all of it.
            is_finished = self._is_finished(path, descriptor, now)
            size = os.fstat(descriptor).st_size
            running = self._running.get(path.name) or self._begun(descriptor, before)
            if running is None or size < running.size:
                self.changed[path.name] = None
                return None
            if size > running.size:
                running = _read_on(descriptor, running, size)
                os.fdatasync(descriptor)
            self._running[path.name] = running
        return FileMark(path.name, running.size, running.digest.hexdigest(), is_finished)

    def _begun(self, descriptor: int, before: FileMark | None) -> _Running | None:
        """Return the digest of what the last mark covers; None if that has changed."""
        running = _Running(sha256(), 0)
        if before is None:
            return running
        running = _read_on(descriptor, running, before.bytes)
        return running if running.digest.hexdigest() == before.sha256 else None

    def _is_finished(self, path: Path, descriptor: int, now: datetime) -> bool:
        """Whether the process that wrote a file has left it: it has no lock any more.

        A new file may not have its lock yet, and this check must not be in its way.
        """
        age = now.timestamp() - audit_folder.started_us(path) / 1e6
        if age < limits.audit_checkpoint_new_file_seconds:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        return True


def _read_on(descriptor: int, running: _Running, size: int) -> _Running:
    """Digest a file up to `size` bytes of it, or up to its end."""
    digest, at = running.digest.copy(), running.size  # a read that fails changes nothing
    while at < size:
        piece = os.pread(descriptor, min(_PIECE, size - at), at)
        if not piece:
            break
        digest.update(piece)
        at += len(piece)
    return _Running(digest, at)
