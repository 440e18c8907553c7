"""The checkpoints of a machine on its disk, in files of the audit folder.

Each file begins with a checkpoint that has the marks of all audit files, so older files of the log
may go. A line that a power loss or a full disk has torn is the last of its file, and has no
newline.

The number and the digest of the newest checkpoint are also in a file of the state folder: a person
who can only write into the audit folder cannot cut the end of the log unseen.
"""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from crewgate import limits
from crewgate.audit.checkpoints.checkpoint import Checkpoint, FileMark, SignedCheckpoint, read, sign
from crewgate.audit.checkpoints.signing_key import CheckpointKey
from crewgate.runtime.cleanup import on_error
from crewgate.runtime.durable_files import append, open_to_append, sync_folder, write_file

_FILE = re.compile(r"checkpoints-\d{8}T\d{6}\.\d{6}Z(-\d{3})?\.log", re.ASCII)
_TURNS_MAX = 1000
_NEWEST = "audit-checkpoint"


def log_files(folder: Path) -> list[Path]:
    """Return the files of the log, the oldest first; none if there is no folder."""
    try:
        return sorted(path for path in folder.iterdir() if _FILE.fullmatch(path.name))
    except FileNotFoundError:
        return []


def lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of one file, each with its newline, which a torn one lacks. OSError.

    A line above the bound comes in parts, which are no checkpoints.
    """
    with path.open("rb") as file:
        while line := file.readline(limits.audit_checkpoint_line_bytes_max):
            yield line


class NewestCheckpoint(NamedTuple):
    """The number and the digest (`SignedCheckpoint.digest`) of the newest checkpoint."""

    number: int
    digest: str


def newest_checkpoint(state: Path) -> NewestCheckpoint | None:
    """Return what the state folder says; None if it says nothing. Raises OSError."""
    try:
        return msgspec.json.decode((state / _NEWEST).read_bytes(), type=NewestCheckpoint)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


class CheckpointLog:
    """Appends checkpoints of one machine, each on the disk when the method returns.

    `marks` has the newest mark of each audit file that was there at the last checkpoint. One thread
    at a time calls the methods.
    """

    def __init__(self, folder: Path, state: Path, key: CheckpointKey, machine: str = "") -> None:
        """Read where the log in `folder` ends. Raises OSError."""
        self.marks: dict[str, FileMark] = {}
        self._folder, self._state, self._key, self._machine = folder, state, key, machine
        self._number, self._last = 0, ""
        self._descriptor, self._size = -1, 0
        self._read_end()

    @property
    def newest(self) -> NewestCheckpoint | None:
        """The newest checkpoint; None if there is none."""
        return NewestCheckpoint(self._number, self._last) if self._number else None

    def add(self, files: list[FileMark], gone: list[str], now: datetime) -> None:
        """Sign and append a checkpoint. If this raises OSError, call it again with the same."""
        marks = {name: mark for name, mark in self.marks.items() if name not in gone}
        marks |= {mark.name: mark for mark in files}
        is_full = self._descriptor < 0 or self._size >= limits.audit_checkpoint_file_bytes
        if is_full:
            self._begin_file(now)
        checkpoint = Checkpoint(
            number=self._number + 1,
            time=now,
            machine=self._machine,
            key=self._key.public,
            before=self._last,
            is_full=is_full,
            files=[*marks.values()] if is_full else files,
            gone=gone,
        )
        signed = read(sign(checkpoint, self._key))
        try:
            append(self._descriptor, signed.line + b"\n")
        except OSError:
            self.close()  # its last line may be torn, so it gets no other
            raise
        self._size += len(signed.line) + 1
        self.marks = marks
        self._number, self._last = checkpoint.number, signed.digest
        newest = msgspec.json.encode(NewestCheckpoint(self._number, self._last))
        write_file(self._state / _NEWEST, newest, 0o600)

    def close(self) -> None:
        """Close the file; the next checkpoint begins another one."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _begin_file(self, now: datetime) -> None:
        self.close()
        # Two agents never serve at once, so no other process makes this file.
        names = (
            f"checkpoints-{now:%Y%m%dT%H%M%S.%fZ}{f'-{turn:03}' if turn else ''}.log"
            for turn in range(_TURNS_MAX)
        )
        path = next(path for name in names if not (path := self._folder / name).exists())
        descriptor = open_to_append(path, 0o600)
        with on_error(os.close, descriptor):
            sync_folder(self._folder)
        self._descriptor, self._size = descriptor, 0
        self._prune()

    def _prune(self) -> None:
        """Delete the oldest files beyond the bound; the newest ones, of which one is full, stay."""
        left = log_files(self._folder)
        for path in left[: -limits.audit_checkpoint_files_max]:
            with suppress(OSError):
                path.unlink()

    def _read_end(self) -> None:
        """Read the newest file that has a whole line, from its full checkpoint on."""
        for path in reversed(log_files(self._folder)):
            found = [*_readable(path)]
            for each in found:
                gone = each.checkpoint.gone
                self.marks = {n: mark for n, mark in self.marks.items() if n not in gone}
                self.marks |= {mark.name: mark for mark in each.checkpoint.files}
            if found:
                self._number, self._last = found[-1].checkpoint.number, found[-1].digest
                return


def _readable(path: Path) -> Iterator[SignedCheckpoint]:
    for line in lines(path):
        with suppress(ValueError):
            yield read(line.removesuffix(b"\n"))
