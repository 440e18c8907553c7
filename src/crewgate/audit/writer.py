"""One process's audit file: a record is in the kernel when `write` returns, or it is counted lost.

A SIGKILL of the process therefore loses nothing that was reported as written. A power loss may lose
what the disk had not got yet: a second of records unless the configuration says otherwise, as each
sync costs a call milliseconds. What to do while nothing can be written, refuse calls or go on, is
the gateway's decision: it reads `writable`.
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
from crewgate.audit import folder as audit_folder
from crewgate.audit.next_file import NextFile, PreparedFile
from crewgate.audit.reserved_space import ReservedSpace
from crewgate.audit.syncer import FileSyncer
from crewgate.config import AuditConfig, AuditSync
from crewgate.core.audit.json_line import encode
from crewgate.core.audit.records import Record, ServiceEvent, when

Write = Callable[[int, bytes], int]
_NEWLINE = 0x0A
_log = logging.getLogger(__name__)


class RotationPolicy(msgspec.Struct, frozen=True):
    """When a file is full or old, what the folder may hold in all (None keeps every file).

    `sync`: whether the disk has a record within a second, when `write` returns, or at some time.
    """

    bytes_max: int = limits.audit_rotate_bytes
    seconds_max: float = limits.audit_rotate_seconds
    folder_bytes_max: int | None = None
    sync: AuditSync = "second"

    @classmethod
    def of(cls, audit: AuditConfig) -> Self:
        """What the configuration says."""
        return cls(audit.rotate_bytes, audit.rotate_seconds, audit.keep_bytes, audit.sync)


_DEFAULT = RotationPolicy()


class AuditWriter:
    """Appends records; rotates by size and age; degrades loudly and recovers by itself.

    Plain code for one thread; what may keep that waiting for a disk is done in others, except with
    `sync = "each"`. `tick` is to be called about once a second: it rotates by age, finds a file
    that somebody took away, and tries to recover. Lines go on into the old file until the next one
    is open.
    """

    def __init__(
        self,
        folder: Path,
        process: str,
        rotation: RotationPolicy = _DEFAULT,
        *,
        machine: str = "",
        ballast_bytes: int = limits.audit_ballast_bytes,
        now_ns: Callable[[], int] = time.time_ns,
        write: Write = os.write,
    ) -> None:
        """Open the first file, and wait for it; each line names the `machine`, if it has a name.

        ConfigurationError where the folder cannot be made.

        A folder that exists but has no room leaves the writer degraded, not unmade.
        """
        self.folder = folder
        self._process = process
        self._stamp = b'{"machine":"%b",' % machine.encode() if machine else b"{"
        self._rotation = rotation
        self._now_ns = now_ns
        self._write = write
        self._syncer = FileSyncer(lambda: self.written)
        self._next = NextFile(
            folder,
            process,
            ballast_bytes=ballast_bytes,
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
        self.error: OSError | None = None  # why it is not writable
        self.writable = False
        self.written = 0
        self.lost = 0
        audit_folder.prepare(folder)
        try:
            self._adopt(self._next.open(with_ballast=True))
        except OSError as error:
            self._degrade(error)

    def write(self, record: Record) -> bool:
        """Append one record; True once the kernel has it, False when it is lost (and counted)."""
        return self._append(self._stamped(encode(record)), 1)

    def write_many(self, records: Iterable[Record]) -> bool:
        """Append records with one system call; True once the kernel has them all."""
        return self.write_lines([encode(record) for record in records])

    def write_lines(self, lines: Sequence[bytes]) -> bool:
        """Append lines as `core.line` writes them with one system call, and answer as above.

        Each is one record: one newline, at its end.
        """
        if len(self._stamp) > 1:
            lines = [self._stamped(line) for line in lines]
        return self._append(b"".join(lines), len(lines)) if lines else True

    def write_later(self, record: Record) -> None:
        """Append one record at the next tick; from any thread."""
        self._later.append(record)

    def tick(self) -> None:
        """Rotate by age or because the file is gone; recover where writing had failed."""
        self._write_late_records()
        self._poll_syncer()
        self._take_next()
        if not self.writable or self._is_gone() or self._is_old():
            self._rotate()

    def late_seconds(self) -> float:
        """How long the disk has been asked for something that it has not done yet."""
        return max(self._syncer.late_seconds(), self._next.late_seconds())

    def close(self) -> None:
        """End the file; what could not be written stays lost. May wait, for a bounded time."""
        self._write_late_records()
        self._release_reserved()
        self._next.close()
        self._leave()
        if not self._syncer.close():
            _log.warning(
                "audit of %s: the disk of %s has not taken the last lines; a power loss now would "
                "take them",
                self._process,
                self.folder,
            )
        self.writable = False

    def _leave(self) -> None:
        """End the file that is open, once the disk has what is in it."""
        if self._descriptor < 0:
            return
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)  # now it may be cleared as an old file
        if self._rotation.sync == "never":
            os.close(self._descriptor)
        else:
            self._syncer.leave(self._descriptor)
        self._descriptor = -1

    def _write_late_records(self) -> None:
        while self._later:
            self.write(self._later.popleft())

    def _poll_syncer(self) -> None:
        """What the disk has not taken is lost, though the kernel had it."""
        failed = self._syncer.failed()
        if failed is not None:
            error, missing = failed
            self.lost += missing
            self._unreported += missing
            self._degrade(error)

    def _stamped(self, line: bytes) -> bytes:
        """The line with the machine as its first member: also one that native code has written."""
        return self._stamp + line[1:]

    def _append(self, data: bytes, count: int) -> bool:
        missing, error = self._put(data)
        if missing and self._release_reserved():
            missing, _ = self._put(missing)
        lost = missing.count(b"\n")
        if error is None and self._rotation.sync == "second":
            self._syncer.wrote(self._descriptor)
        elif error is None and self._rotation.sync == "each":
            error = self._sync_now()
            lost = count if error else 0
        self.written += count - lost
        self.lost += lost
        self._unreported += lost
        if error is not None:
            self._degrade(error)
        elif self._size >= self._rotation.bytes_max:
            self._rotate()
        return not lost

    def _sync_now(self) -> OSError | None:
        """Wait for the disk, without regard to who else waits for us; why it failed."""
        self._syncer.wrote(self._descriptor)
        self._syncer.sync()
        failed = self._syncer.failed()
        return failed[0] if failed else None

    def _put(self, data: bytes) -> tuple[bytes, OSError | None]:
        """Write whole lines; return those that are not wholly in the kernel, and why.

        After a line that was cut, the next one starts on a line of its own.
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
            # A line of which only the end is missing is whole once the next one starts.
            whole = done + 1 if rest[done] == _NEWLINE else rest.rfind(b"\n", 0, done) + 1
            return rest[whole:], error
        self._torn = False
        self._size += done
        return b"", None

    def _degrade(self, error: OSError) -> None:
        self.writable = False
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
        """Write how many records were lost; False, and no empty file left, if even that fails."""
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
        """Have another file opened, and take it once it is there.

        If no line can be written, the ballast is taken up too: both prove that the disk takes
        records again.
        """
        self._next.begin(with_ballast=self._reserved is None and not self.writable)
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
        """Write there from now on."""
        first = self._descriptor < 0 and not self.lost
        self._leave()
        self._descriptor, self.path, self._opened_ns, ballast, uncleared = opened
        self._size, self._torn = 0, False
        if ballast is not None:
            self._reserved = ballast
        if uncleared is not None:
            _log.warning(
                "audit of %s: old files in %s are not cleared: %s",
                self._process,
                self.folder,
                uncleared.strerror,
            )
        # One that was begun before writing failed has no ballast, and proves less.
        if not self.writable and self._reserved is not None and (first or self._report()):
            self.writable = True
            self.error = None

    def _is_old(self) -> bool:
        """By the wall clock; one that is set back further than the limit rotates too: harmless."""
        return abs(self._now_ns() - self._opened_ns) >= self._rotation.seconds_max * 1e9

    def _is_gone(self) -> bool:
        """Somebody deleted or moved the file or its folder: lines would go where nobody looks."""
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
        self._reserved.drop()
        self._reserved = None
        return True
