"""The audit file of one process: when `write` returns, a record is in the kernel or counted lost.

A SIGKILL of the process therefore loses no record that was reported as written. A power loss may
lose the records of the last second, unless the configuration says otherwise: each sync would delay
a call by milliseconds. The gateway reads `writable`, and decides whether to refuse calls.
"""

import fcntl
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Self

import msgspec

from crewgate import limits
from crewgate._native.audit_state import AuditWriterState
from crewgate._native.metrics import CallBatch
from crewgate.audit import folder as audit_folder
from crewgate.audit.audit_metrics import AuditMetrics
from crewgate.audit.next_file import NextFile, PreparedFile
from crewgate.audit.reserved_space import ReservedSpace
from crewgate.audit.syncer import FileSyncer
from crewgate.config import AuditConfig, AuditSync, Config
from crewgate.core.audit.json_line import encode
from crewgate.core.audit.records import Record, ServiceEvent, when
from crewgate.metrics.process_metrics import ProcessMetrics

Write = Callable[[int, bytes], int]
_NEWLINE = 0x0A
_log = logging.getLogger(__name__)


class RotationPolicy(msgspec.Struct, frozen=True):
    """When the writer begins a new file, and how many bytes the folder may hold (None: any number).

    `sync` says when the disk has a record: within a second, when `write` returns, or at some time.
    """

    bytes_max: int = limits.audit_rotate_bytes
    seconds_max: float = limits.audit_rotate_seconds
    folder_bytes_max: int | None = None
    sync: AuditSync = "second"

    @classmethod
    def of(cls, audit: AuditConfig) -> Self:
        """Make the policy of a configuration."""
        return cls(audit.rotate_bytes, audit.rotate_seconds, audit.keep_bytes, audit.sync)


_DEFAULT = RotationPolicy()


class AuditWriter:
    """Appends records, rotates files by size and age, and recovers from errors by itself.

    One thread calls the methods. Other threads do everything that may wait for a disk, except with
    `sync = "each"`. Call `tick` about once a second: it rotates by age, notices a deleted file, and
    tries to recover. Lines go into the old file until the next one is open.

    Attributes:
        folder: The folder of the files.
        path: The current file; None while none could be opened.
        state: Whether records can be written; `error` says why not.
        written: The number of records that the kernel has.
        lost: The number of lost records.
    """

    def __init__(
        self,
        folder: Path,
        process: str,
        rotation: RotationPolicy = _DEFAULT,
        *,
        machine: str = "",
        metrics: AuditMetrics | None = None,
        reserved_bytes: int = limits.audit_reserved_bytes,
        now_ns: Callable[[], int] = time.time_ns,
        write: Write = os.write,
    ) -> None:
        """Open the first file, and wait for it. Each line names the `machine`, if it has a name.

        `metrics` counts lines and records.

        If the folder exists but has no room, the writer is not writable, and tries again later.
        Raises ConfigurationError if the folder cannot be made.
        """
        self.folder = folder
        self._process = process
        self._stamp = b'{"machine":"%b",' % machine.encode() if machine else b"{"
        self._metrics = metrics
        self._rotation = rotation
        self._now_ns = now_ns
        self._write = write
        self._syncer = FileSyncer(lambda: self.written)
        self._next = NextFile(
            folder,
            process,
            reserved_bytes=reserved_bytes,
            folder_bytes_max=rotation.folder_bytes_max,
            now_ns=now_ns,
        )
        self._descriptor = -1
        self.path: Path | None = None
        self._size = 0
        self._opened_ns = 0
        self._torn = False
        self._reserved: ReservedSpace | None = None
        self._unreported = 0
        self._later: deque[Record] = deque(maxlen=limits.log_later_max)
        self.error: OSError | None = None
        self.state = AuditWriterState()
        self.written = 0
        self.lost = 0
        audit_folder.prepare(folder)
        try:
            self._adopt(self._next.open(with_reserve=True))
        except OSError as error:
            self._degrade(error)

    @classmethod
    def of(cls, config: Config, process: str, metrics: ProcessMetrics | None = None) -> Self:
        """Make the writer of a process, as the configuration says. Raises ConfigurationError."""
        return cls(
            config.audit.folder,
            process,
            RotationPolicy.of(config.audit),
            machine=config.name,
            metrics=None if metrics is None else AuditMetrics(metrics, process),
        )

    @property
    def writable(self) -> bool:
        """Whether records can be written."""
        return self.state.writable

    def write(self, record: Record) -> bool:
        """Append one record; return False if it is lost."""
        return self.write_many([record])

    def write_many(self, records: Iterable[Record]) -> bool:
        """Append records with one system call; return False if one is lost."""
        records = list(records)
        is_written = self.write_lines([encode(record) for record in records])
        if self._metrics is not None:
            self._metrics.events(records)
        return is_written

    def write_lines(self, lines: Sequence[bytes], calls: CallBatch | None = None) -> bool:
        """Append lines with one system call; return False if one is lost.

        Each line is one record as `core.audit.json_line` encodes it, with one newline, at its end.
        The metrics count the `calls` that the lines are about.
        """
        if len(self._stamp) > 1:
            lines = [self._stamped(line) for line in lines]
        return self._append(b"".join(lines), len(lines), calls) if lines else True

    def write_later(self, record: Record) -> None:
        """Append one record at the next tick. Any thread may call this."""
        self._later.append(record)

    def tick(self) -> None:
        """Rotate if the file is old or gone, and try to recover if it cannot be written."""
        self._write_late_records()
        self._poll_syncer()
        self._take_next()
        if self._metrics is not None:
            self._metrics.lag(self.late_seconds())
        if not self.writable or self._is_gone() or self._is_old():
            self._rotate()

    def late_seconds(self) -> float:
        """Return how long an operation on the disk has been in progress."""
        return max(self._syncer.late_seconds(), self._next.late_seconds())

    def close(self) -> None:
        """Close the file. May wait for the disk, for a bounded time."""
        self._write_late_records()
        self._release_reserved()
        self._next.close()
        self._leave()
        if not self._syncer.close():
            _log.warning(
                "audit of %s: the disk of %s has not synced the last lines; a power loss now would "
                "lose them",
                self._process,
                self.folder,
            )
        self.state.writable = False

    def _leave(self) -> None:
        """Close the open file once the disk has its lines."""
        if self._descriptor < 0:
            return
        # Without the lock, the file counts as finished and may be deleted.
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        if self._rotation.sync == "never":
            os.close(self._descriptor)
        else:
            self._syncer.leave(self._descriptor)
        self._descriptor = -1

    def _write_late_records(self) -> None:
        while self._later:
            self.write(self._later.popleft())

    def _poll_syncer(self) -> None:
        """Count the records as lost that the kernel had and the disk did not take."""
        failed = self._syncer.failed()
        if failed is not None:
            error, missing = failed
            self.lost += missing
            self._unreported += missing
            if self._metrics is not None:
                self._metrics.lost.add(missing)
            self._degrade(error)

    def _stamped(self, line: bytes) -> bytes:
        """Add the name of the machine as the first member of an encoded line."""
        return self._stamp + line[1:]

    def _append(self, data: bytes, count: int, calls: CallBatch | None = None) -> bool:
        metrics = self._metrics
        if calls is not None and metrics is not None:
            metrics.shard.begin(calls, self._size + self._torn, len(self._stamp) - 1)
        missing, error = self._put(data)
        if missing and self._release_reserved():
            missing, _ = self._put(missing)
        lost = missing.count(b"\n")
        if metrics is not None:
            metrics.shard.commit(metrics.written, count - lost)
        if error is None and self._rotation.sync == "second":
            self._syncer.wrote(self._descriptor)
        elif error is None and self._rotation.sync == "each":
            error = self._sync_now()
            lost = count if error else 0
        if metrics is not None and lost:
            metrics.lost.add(lost)
        self.written += count - lost
        self.lost += lost
        self._unreported += lost
        if error is not None:
            self._degrade(error)
        elif self._size >= self._rotation.bytes_max:
            self._rotate()
        return not lost

    def _sync_now(self) -> OSError | None:
        self._syncer.wrote(self._descriptor)
        self._syncer.sync()
        failed = self._syncer.failed()
        return failed[0] if failed else None

    def _put(self, data: bytes) -> tuple[bytes, OSError | None]:
        """Write lines; return those that the kernel does not have in full, and the error.

        After an incomplete line, the next write begins with a newline.
        """
        if self._descriptor < 0 and self.error is not None:
            return data, self.error
        rest = b"\n" + data if self._torn else data
        done = 0
        try:
            while done < len(rest):
                done += self._write(self._descriptor, rest[done:] if done else rest)
        except OSError as error:
            self._size += done
            if not done:
                return data, error
            self._torn = rest[done - 1] != _NEWLINE
            # A line that lacks only its newline is complete once the next line starts.
            whole = done + 1 if rest[done] == _NEWLINE else rest.rfind(b"\n", 0, done) + 1
            return rest[whole:], error
        self._torn = False
        self._size += done
        return b"", None

    def _degrade(self, error: OSError) -> None:
        self.state.writable = False
        self.error = error
        _log.warning(
            "audit of %s: cannot write to %s: %s; %d records lost; make room, or name another "
            "[audit] folder",
            self._process,
            self.folder,
            error.strerror,
            self.lost,
            extra={"subject": f"writing to {self.folder}"},
        )

    def _report(self) -> bool:
        """Write how many records were lost; if that fails, delete the empty file, return False."""
        now = when(self._now_ns())
        event = ServiceEvent(time=now, event="audit-recovered", count=self._unreported)
        _, error = self._put(self._stamped(encode(event)))
        if error is not None:
            self._discard()
            self._degrade(error)
            return False
        self._unreported = 0
        return True

    def _rotate(self) -> None:
        """Open another file in a thread, and use it once it is open.

        If the audit cannot be written, the thread reserves space too. A new file and the space
        together prove that the disk takes records again.
        """
        self._next.begin(with_reserve=self._reserved is None and not self.writable)
        self._take_next()

    def _take_next(self) -> None:
        try:
            opened = self._next.take()
        except OSError as error:
            self._degrade(error)
            return
        if opened is not None:
            self._adopt(opened)

    def _adopt(self, opened: PreparedFile) -> None:
        first = self._descriptor < 0 and not self.lost
        self._leave()
        self._descriptor, self.path, self._opened_ns = opened[:3]
        self._size, self._torn = 0, False
        if self._metrics is not None:
            self._metrics.shard.file = os.fsencode(opened.path)
        if opened.reserved is not None:
            self._reserved = opened.reserved
        if opened.prune_error is not None:
            _log.warning(
                "audit of %s: cannot delete old files in %s: %s",
                self._process,
                self.folder,
                opened.prune_error.strerror,
            )
        # A file that the thread began before the failure has no reserved space, so it proves less.
        if not self.writable and self._reserved is not None and (first or self._report()):
            self.state.writable = True
            self.error = None

    def _is_old(self) -> bool:
        # If the wall clock is set back by more than the limit, the early rotation is harmless.
        return abs(self._now_ns() - self._opened_ns) >= self._rotation.seconds_max * 1e9

    def _is_gone(self) -> bool:
        """Whether somebody has deleted or moved the file or its folder."""
        try:
            return self.path is None or not os.path.samestat(
                self.path.stat(), os.fstat(self._descriptor)
            )
        except OSError:
            return True

    def _discard(self) -> None:
        if self.path is not None and not self._size:
            self.path.unlink(missing_ok=True)

    def _release_reserved(self) -> bool:
        if self._reserved is None:
            return False
        self._reserved.release()
        self._reserved = None
        return True
