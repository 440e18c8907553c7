"""The checkpoints of a machine on its disk, in files of the audit folder.

Each file begins with a checkpoint that has the marks of all audit files, so older files of the log
may go. A line that a power loss or a full disk has torn is the last of its file, and has no
newline.

The number and the digest of the newest checkpoint are also in a file of the state folder: a person
who can only write into the audit folder cannot cut the end of the log unseen. The next checkpoint
has that digest, so the gap stays. The numbers of a machine rise, also if its configuration names
another audit folder.
"""

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import msgspec

from crewgate import limits
from crewgate.audit.checkpoints.checkpoint import Checkpoint, FileMark, SignedCheckpoint, read, sign
from crewgate.audit.checkpoints.signing_key import CheckpointKey
from crewgate.runtime.durable_files import append, open_to_append, sync_folder, write_file

_FILE = re.compile(r"checkpoints-\d{8}T\d{6}\.\d{6}Z\.log", re.ASCII)
_NAME = "checkpoints-%Y%m%dT%H%M%S.%fZ.log"
_NEWEST = "audit-checkpoint"
_NUMBER_MAX = 2**48  # far below what the other machines take


def log_files(folder: Path) -> list[Path]:
    """Return the files of the log, the oldest first; none if there is no folder.

    A pipe with such a name, which would hold its reader, is none of them, and neither is a link.
    """
    try:
        found = [path for path in folder.iterdir() if is_log_file(path.name)]
    except FileNotFoundError:
        return []
    return sorted(path for path in found if _is_file(path))


def is_log_file(name: str) -> bool:
    """Whether a file of the log may have this name."""
    return _FILE.fullmatch(name) is not None


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:  # the gateway has just deleted its oldest file
        return False


def begun(path: Path) -> datetime:
    """Return when a file of the log was begun, by its name. ValueError for no time."""
    return datetime.strptime(path.name, _NAME).replace(tzinfo=UTC)


def lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of one file, each with its newline, which a torn one lacks. OSError.

    A line above the bound comes in parts, which are no checkpoints.
    """
    with path.open("rb") as file:
        while line := file.readline(limits.audit_checkpoint_line_bytes_max):
            yield line
            if len(line) < limits.audit_checkpoint_line_bytes_max and not line.endswith(b"\n"):
                return  # the gateway may add the rest now


class NewestCheckpoint(NamedTuple):
    """The number and the digest (`SignedCheckpoint.digest`) of the newest checkpoint."""

    number: int
    digest: str


def newest_checkpoints(state: Path) -> dict[str, NewestCheckpoint]:
    """Return what the state folder says of each audit folder (its real path). Raises OSError."""
    try:
        data = (state / _NEWEST).read_bytes()
        return msgspec.json.decode(data, type=dict[str, NewestCheckpoint])
    except (FileNotFoundError, msgspec.DecodeError):
        return {}


def newest_checkpoint(state: Path, folder: Path) -> NewestCheckpoint | None:
    """Return what the state folder says of an audit folder, if anything. Raises OSError."""
    return newest_checkpoints(state).get(os.path.realpath(folder))


class CheckpointLog:
    """Appends checkpoints of one machine, each on the disk when the method returns.

    `marks` has the newest mark of each audit file that was there at the last checkpoint. One thread
    at a time calls the methods.
    """

    def __init__(self, folder: Path, state: Path, key: CheckpointKey, machine: str = "") -> None:
        """Read where the log in `folder` ends. Raises OSError."""
        self.marks: dict[str, FileMark] = {}
        self._folder, self._state, self._key, self._machine = folder, state, key, machine
        self._newest: NewestCheckpoint | None = None
        self._number = 0  # of the newest one in any folder
        self._descriptor, self._size, self._path = -1, 0, folder
        self._read_end()

    @property
    def newest(self) -> NewestCheckpoint | None:
        """The newest checkpoint; None if there is none."""
        return self._newest

    def add(self, files: list[FileMark], gone: list[str], now: datetime) -> None:
        """Sign and append a checkpoint. If this raises OSError, call it again with the same."""
        marks = {name: mark for name, mark in self.marks.items() if name not in gone}
        marks |= {mark.name: mark for mark in files}
        is_full = self._size >= limits.audit_checkpoint_file_bytes or not self._is_there()
        if is_full:
            self._begin_file(now)
        others = newest_checkpoints(self._state).values()
        checkpoint = Checkpoint(
            number=max([self._number, *(each.number for each in others)]) + 1,
            time=now,
            machine=self._machine,
            key=self._key.public,
            before="" if self._newest is None else self._newest.digest,
            is_full=is_full,
            files=[*marks.values()] if is_full else files,
            gone=gone,
        )
        signed = read(sign(checkpoint, self._key))
        try:
            append(self._descriptor, signed.line + b"\n")
        except OSError:
            self._leave_failed()
            raise
        if is_full:
            self._prune()
        self._size += len(signed.line) + 1
        self.marks = marks
        self._number = checkpoint.number
        self._newest = NewestCheckpoint(checkpoint.number, signed.digest)
        self._write_newest(self._newest)

    def close(self) -> None:
        """Close the file; the next checkpoint begins another one."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _continue(self, path: Path, found: list[SignedCheckpoint]) -> None:
        """Append to a file that has these checkpoints and no more, so starts fill no bound."""
        size = sum(len(each.line) + 1 for each in found)
        if path.stat().st_size == size and found[0].checkpoint.is_full:
            self._descriptor, self._size, self._path = open_to_append(path, 0o600), size, path

    def _leave_failed(self) -> None:
        """Remove the line that failed, torn or whole: the next one has the same number.

        A file without another line goes too: a full disk must not push out the older files.
        """
        with suppress(OSError):
            os.ftruncate(self._descriptor, self._size)
            if not self._size and self._is_there():
                self._path.unlink()
        self.close()

    def _is_there(self) -> bool:
        """Whether the open file still has its name."""
        if self._descriptor < 0:
            return False
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self._descriptor))
        except FileNotFoundError:
            return False

    def _begin_file(self, now: datetime) -> None:
        self.close()
        # Two agents never serve at once, so no other process makes this file.
        path = self._folder / _name_after(log_files(self._folder), now)
        descriptor = open_to_append(path, 0o600)
        self._descriptor, self._size, self._path = descriptor, 0, path
        try:
            sync_folder(self._folder)
        except OSError:
            self._leave_failed()
            raise

    def _write_newest(self, newest: NewestCheckpoint) -> None:
        found = newest_checkpoints(self._state)
        found.pop(os.path.realpath(self._folder), None)  # the newest is the last
        found[os.path.realpath(self._folder)] = newest
        kept = dict([*found.items()][-limits.audit_checkpoint_folders_max :])
        write_file(self._state / _NEWEST, msgspec.json.encode(kept), 0o600)

    def _prune(self) -> None:
        """Delete the oldest files beyond the bound; the newest ones, of which one is full, stay."""
        left = log_files(self._folder)
        for path in left[: -limits.audit_checkpoint_files_max]:
            with suppress(OSError):
                path.unlink()

    def _read_end(self) -> None:
        """Read the newest file that has a whole line, from its full checkpoint on."""
        known = newest_checkpoints(self._state)
        files = log_files(self._folder)
        for path in reversed(files):
            found = [*_readable(path)]
            for each in found:
                gone = each.checkpoint.gone
                self.marks = {n: mark for n, mark in self.marks.items() if n not in gone}
                self.marks |= {mark.name: mark for mark in each.checkpoint.files}
            if found:
                self._newest = NewestCheckpoint(found[-1].checkpoint.number, found[-1].digest)
                if path == files[-1]:
                    self._continue(path, found)
                break
        own = known.get(os.path.realpath(self._folder))
        # A kill may leave a checkpoint that the state folder lacks, but never the reverse.
        if own is not None and (self._newest is None or self._newest.number <= own.number):
            self._newest = own
        ends = [*known.values()] if self._newest is None else [self._newest, *known.values()]
        self._number = max((each.number for each in ends), default=0)


def _name_after(files: list[Path], now: datetime) -> str:
    """Return a name after those of all files, even if the clock was set back. Raises OSError."""
    try:
        after = [begun(path) + timedelta(microseconds=1) for path in files]
        begin = max([now, *after])
    except (ValueError, OverflowError) as error:
        why = f"the name of a file checkpoints-….log has no time: {error}; move it away"
        raise OSError(errno.EINVAL, why) from None
    return begin.strftime(_NAME)


def _readable(path: Path) -> Iterator[SignedCheckpoint]:
    """Yield the signed checkpoints; a number that no machine reaches is none."""
    for line in lines(path):
        with suppress(ValueError):
            found = read(line.removesuffix(b"\n"))
            if found.is_signed and found.checkpoint.number < _NUMBER_MAX:
                yield found
