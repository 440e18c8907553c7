"""One process's audit file: a record is in the kernel when `write` returns, or it is counted lost.

A SIGKILL of the process therefore loses nothing that was reported as written. A power loss may lose
what the disk had not got yet: a second of records unless the configuration says otherwise, as each
sync costs a call milliseconds. What to do while nothing can be written, refuse calls or go on, is
the gateway's decision: it reads `writable`.
"""

import contextlib
import fcntl
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Self

import msgspec

from crewgate import limits
from crewgate.audit import folder as audit_folder
from crewgate.audit.ballast import Ballast
from crewgate.audit.syncing import Syncer
from crewgate.config import Audit, AuditSync
from crewgate.core.line import encode
from crewgate.core.record import Event, Record, when

Write = Callable[[int, bytes], int]
_NEWLINE = 0x0A


def _complain(text: str) -> None:
    # A closed standard error must not take the data path with it.
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"crewgate: {text}\n")
        sys.stderr.flush()


class Rotation(msgspec.Struct, frozen=True):
    """When a file is full or old, what the folder may hold in all (None keeps every file).

    `sync`: whether the disk has a record within a second, when `write` returns, or at some time.
    """

    bytes_max: int = limits.audit_rotate_bytes
    seconds_max: float = limits.audit_rotate_seconds
    folder_bytes_max: int | None = None
    sync: AuditSync = "second"

    @classmethod
    def of(cls, audit: Audit) -> Self:
        """What the configuration says."""
        return cls(audit.rotate_bytes, audit.rotate_seconds, audit.keep_bytes, audit.sync)


_DEFAULT = Rotation()


class Writer:
    """Appends records; rotates by size and age; degrades loudly and recovers by itself.

    Plain blocking code for one thread. `tick` is to be called about once a second: it rotates by
    age, finds a file that somebody took away, and tries to recover.
    """

    def __init__(
        self,
        folder: Path,
        process: str,
        rotation: Rotation = _DEFAULT,
        *,
        machine: str = "",
        ballast_bytes: int = limits.audit_ballast_bytes,
        complain: Callable[[str], None] = _complain,
        now_ns: Callable[[], int] = time.time_ns,
        write: Write = os.write,
    ) -> None:
        """Open the first file; each line names the `machine`, if that has a name.

        ConfigurationError where the folder cannot be made.

        A folder that exists but has no room leaves the writer degraded, not unmade.
        """
        self._folder = folder
        self._process = process
        self._stamp = b'{"machine":"%b",' % machine.encode() if machine else b"{"
        self._rotation = rotation
        self._ballast_bytes = ballast_bytes
        self._complain = complain
        self._now_ns = now_ns
        self._write = write
        self._syncer = Syncer(lambda: self.written)
        self._descriptor = -1
        self._path: Path | None = None
        self._size = 0
        self._opened_ns = 0
        self._torn = False
        self._ballast: Ballast | None = None
        self._unreported = 0
        self._complained_ns: int | None = None
        self.error: OSError | None = None  # why it is not writable
        self.writable = False
        self.written = 0
        self.lost = 0
        audit_folder.prepare(folder)
        self._recover()

    def __repr__(self) -> str:
        """Where it writes and how it fares."""
        state = "writable" if self.writable else "degraded"
        return f"<Writer {self._path} {state} written={self.written} lost={self.lost}>"

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return self._folder

    @property
    def path(self) -> Path | None:
        """The file being written; None while none could be opened."""
        return self._path

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

    def tick(self) -> None:
        """Rotate by age or because the file is gone; recover where writing had failed."""
        self._hear_syncer()
        if not self.writable:
            self._recover()
        elif self._is_gone() or self._is_old():
            self._rotate()

    def close(self) -> None:
        """End the file; what could not be written stays lost."""
        self._drop_ballast()
        self._leave()
        self._syncer.close()
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

    def _hear_syncer(self) -> None:
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
        if missing and self._drop_ballast():
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
        now = self._now_ns()
        last = self._complained_ns
        if last is not None and abs(now - last) < limits.audit_complaint_seconds * 1e9:
            return
        self._complained_ns = now
        self._complain(
            f"audit of {self._process}: cannot write to {self._folder}: {error.strerror}; "
            f"{self.lost} records lost; make room, or name another [audit] folder"
        )

    def _recover(self) -> None:
        """Take up the ballast and a new file; both prove that the disk takes records again."""
        first = self._descriptor < 0 and not self.lost
        try:
            if self._ballast is None:
                self._ballast = Ballast.take(self._folder, self._ballast_bytes)
            self._open()
        except OSError as error:
            self._degrade(error)
            return
        if first or self._report():
            self.writable = True
            self.error = None

    def _report(self) -> bool:
        """Write how many records were lost; False, and no empty file left, if even that fails."""
        now = when(self._now_ns())
        event = Event(time=now, event="audit-recovered", count=self._unreported)
        _, error = self._put(self._stamped(encode(event)))
        if error is not None:
            self._discard()
            self._degrade(error)
            return False
        self._unreported = 0
        self._complained_ns = None
        return True

    def _rotate(self) -> None:
        try:
            self._open()
        except OSError as error:
            self._degrade(error)

    def _open(self) -> None:
        now = self._now_ns()
        descriptor, path = audit_folder.create(self._folder, self._process, now)
        self._leave()
        self._descriptor, self._path = descriptor, path
        self._size, self._opened_ns, self._torn = 0, now, False
        if self._rotation.folder_bytes_max is not None:
            audit_folder.prune(self._folder, self._rotation.folder_bytes_max)

    def _is_old(self) -> bool:
        """By the wall clock; one that is set back further than the limit rotates too: harmless."""
        return abs(self._now_ns() - self._opened_ns) >= self._rotation.seconds_max * 1e9

    def _is_gone(self) -> bool:
        """Somebody deleted or moved the file or its folder: lines would go where nobody looks."""
        try:
            return self._path is None or not os.path.samestat(
                self._path.stat(), os.fstat(self._descriptor)
            )
        except OSError:
            return True

    def _discard(self) -> None:
        if self._path is not None and not self._size:
            self._path.unlink(missing_ok=True)

    def _drop_ballast(self) -> bool:
        if self._ballast is None:
            return False
        self._ballast.drop()
        self._ballast = None
        return True
