"""The journal of an orchestrator: an append-only file with a line for each grant and revocation.

The line of a grant is on disk before its token leaves the process. So a crash can lose the line of
a token that no caller has yet, and no other line. If a crash leaves a part of the last line, the
next start removes it. All other damage is an error, because the damaged line may be a revocation.
One process at a time writes a journal (flock).
"""

import contextlib
import fcntl
import logging
import os
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import msgspec

from crewgate import limits
from crewgate.errors import JournalError, JournalLockedError
from crewgate.issuer.journal.journal_entries import LINE_PREFIX, JournalEntry, decode, encode
from crewgate.runtime.durable_files import (
    append,
    cause,
    make_folder,
    open_to_append,
    sync_folder,
)

_log = logging.getLogger(__name__)
_CHUNK = 2**20
_LOCK_RETRY_SECONDS = 0.01


class MintJournal:
    """The journal in the file `path`, which is created with mode 0600 if it is missing.

    Read `entries`, or call `repair`, once before the first `append`. If another process has the
    lock, wait for it for `wait_seconds`.

    Raises:
        JournalLockedError: Another orchestrator, in this or another process, has the file open.
        JournalError: The file cannot be opened.
    """

    def __init__(self, path: Path, *, wait_seconds: float = 0.0) -> None:
        self.path = path
        self._process = os.getpid()
        self._broken = ""
        try:
            make_folder(path.parent, 0o700, parents=True)
            self._descriptor = open_to_append(path, 0o600)
        except OSError as error:
            raise JournalError(f"{path}: cannot open the journal: {cause(error)}") from error
        self._close = weakref.finalize(self, os.close, self._descriptor)
        if not self._lock(wait_seconds):
            self.close()
            raise JournalLockedError(
                f"{path}: another orchestrator, in this or another process, mints with this "
                "journal; close that one, or give this orchestrator another name"
            )
        self._size = os.fstat(self._descriptor).st_size
        try:
            sync_folder(path.parent)
        except OSError as error:
            self.close()
            raise JournalError(f"{path}: cannot sync the journal: {cause(error)}") from error

    def close(self) -> None:
        """Close the file; from now on `append` fails."""
        self._close()

    def entries(self) -> Iterator[JournalEntry]:
        """Yield all entries, oldest first, and remove an incomplete last line from the file.

        Raises:
            JournalError: A complete line is damaged, or the file is not a journal, or cannot be
                read or written.
        """
        whole = 0
        for number, line in enumerate(self._lines(), 1):
            entry = _entry(line)
            if entry is not None:
                whole += len(line)
                yield entry
            elif whole + len(line) == self._size and _is_incomplete(line, is_first=number == 1):
                self._cut(whole)
            else:
                raise JournalError(
                    f"{self.path}: line {number} is damaged, or the file is not a journal; name "
                    "another file, restore this one, or move it away and revoke the crew's branches"
                )

    def repair(self) -> None:
        """Remove an incomplete last line, as `entries` does; read no other line.

        Raises:
            JournalError: The last line is damaged, or the file is not a journal, or cannot be read
                or written.
        """
        start = max(0, self._size - limits.journal_line_bytes_max)
        try:
            end = os.pread(self._descriptor, self._size - start, start)
        except OSError as error:
            raise JournalError(f"{self.path}: cannot read the journal: {cause(error)}") from error
        last = end[end.rfind(b"\n", 0, -1) + 1 :]
        if not last or _entry(last) is not None:
            return
        if not _is_incomplete(last, is_first=len(last) == self._size):
            raise JournalError(
                f"{self.path}: the last line is damaged, or the file is not a journal; move it away"
            )
        self._cut(self._size - len(last))

    def append(self, entry: JournalEntry) -> None:
        """Write one entry, and wait until the disk has it.

        Raises:
            JournalError: The write failed; the file does not have the entry.
        """
        if not self._close.alive:
            raise JournalError(
                f"{self.path}: the orchestrator of this journal was closed; make another one"
            )
        if os.getpid() != self._process:
            raise JournalError(
                f"{self.path}: another process opened the journal before it forked; make a new "
                "orchestrator in this process"
            )
        if self._broken:
            raise JournalError(f"{self.path}: cannot write the journal: {self._broken}")
        line = encode(entry)
        try:
            append(self._descriptor, line)
        except OSError as error:
            self._undo(cause(error))
            raise JournalError(
                f"{self.path}: cannot write the journal, so nothing was minted: {cause(error)}"
            ) from error
        self._size += len(line)

    def _lock(self, wait_seconds: float) -> bool:
        """Return whether this process got the lock in time."""
        deadline = time.monotonic() + wait_seconds
        while True:
            with contextlib.suppress(OSError):
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(_LOCK_RETRY_SECONDS)

    def _undo(self, reason: str) -> None:
        try:
            os.ftruncate(self._descriptor, self._size)
        except OSError:
            # The file may end with half a line, to which the next line would be glued.
            self._broken = f"{reason}, and the incomplete line cannot be removed"

    def _cut(self, size: int) -> None:
        _log.warning(
            "%s: removed an incomplete last line of %d bytes after a crash; nobody has its token",
            self.path,
            self._size - size,
        )
        try:
            os.ftruncate(self._descriptor, size)
            os.fsync(self._descriptor)
        except OSError as error:
            raise JournalError(f"{self.path}: cannot repair the journal: {cause(error)}") from error
        self._size = size

    def _lines(self) -> Iterator[bytes]:
        try:
            with self.path.open("rb", buffering=_CHUNK) as file:
                yield from file
        except OSError as error:
            raise JournalError(f"{self.path}: cannot read the journal: {cause(error)}") from error


def _entry(line: bytes) -> JournalEntry | None:
    """Return the entry of a whole line; None if the line is not whole, or is damaged."""
    try:
        return decode(line) if line.endswith(b"\n") else None
    except msgspec.DecodeError:
        return None


def _is_incomplete(line: bytes, *, is_first: bool) -> bool:
    """Return whether a crash may have left this last line: without its end, or with holes of zeros.

    A first line must also begin as all lines do, so that no file of another program is changed.
    """
    begins = all(byte in (0, ours) for byte, ours in zip(line, LINE_PREFIX, strict=False))
    return (b"\0" in line or not line.endswith(b"\n")) and (begins or not is_first)
