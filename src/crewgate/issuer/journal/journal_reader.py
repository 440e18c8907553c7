"""Reads a journal without its lock, while another process may write it.

A reader changes no file. It yields what it cannot read as an `UnreadableLine`, and goes on with the
next line. A line without its end is not written yet, so the reader leaves it for the next time. It
also reads a damaged last line again: after a power loss, the next writer replaces that line.
"""

import heapq
import logging
import stat
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import IO

import msgspec

from crewgate import limits
from crewgate.issuer.journal.journal_entries import JournalEntry, decode
from crewgate.runtime.durable_files import cause

_log = logging.getLogger(__name__)
_CHUNK = 2**20


class UnreadableLine(msgspec.Struct, frozen=True):
    """A line that holds no entry; `line` counts from 1, and 0 is the whole file."""

    path: Path
    line: int
    reason: str

    def __str__(self) -> str:
        where = f"{self.path}: line {self.line}" if self.line else str(self.path)
        return f"{where}: {self.reason}"


class JournalReader:
    """Reads the journal in the file `path`, each time from where it stopped before.

    With `names`, it leaves out each line that has none of these texts, such as ids of branches.
    """

    def __init__(self, path: Path, names: Collection[str] = ()) -> None:
        self.path = path
        self._names = [name.encode() for name in names]
        self._offset, self._line = 0, 0
        self._reported = 0  # the last line that was yielded as unreadable

    def __repr__(self) -> str:
        return f"<JournalReader of {self.path} at byte {self._offset}>"

    def entries(self) -> Iterator[JournalEntry]:
        """Yield the entries that were added, and log what cannot be read."""
        for each in self.read():
            if isinstance(each, UnreadableLine):
                _log.warning("%s", each)
            else:
                yield each

    def read(self) -> Iterator[JournalEntry | UnreadableLine]:
        """Yield the lines that were added. A file that does not exist has none."""
        try:
            if not stat.S_ISREG(self.path.stat().st_mode):  # a pipe would block
                yield UnreadableLine(self.path, 0, "not a regular file")
                return
            with self.path.open("rb", buffering=_CHUNK) as file:
                yield from self._read(file)
        except FileNotFoundError:
            return
        except OSError as error:
            yield UnreadableLine(self.path, 0, f"cannot be read: {cause(error)}")

    def _read(self, file: IO[bytes]) -> Iterator[JournalEntry | UnreadableLine]:
        file.seek(self._offset)
        while line := _next_line(file):
            number = self._line + 1
            if not self._names or any(name in line for name in self._names):
                entry = _entry(self.path, number, line)
                is_unreadable = isinstance(entry, UnreadableLine)
                if not is_unreadable or number > self._reported:
                    yield entry
                if is_unreadable:
                    self._reported = number
                    if _is_at_end(file):
                        return
            self._offset, self._line = file.tell(), number


def in_order_of_time(sources: Sequence[Iterator[JournalEntry]]) -> Iterator[JournalEntry]:
    """Yield the entries of several journals, oldest first."""
    return heapq.merge(*sources, key=_time)


def _entry(path: Path, number: int, line: bytes) -> JournalEntry | UnreadableLine:
    if len(line) > limits.journal_line_bytes_max:
        reason = f"longer than {limits.journal_line_bytes_max} bytes"
        return UnreadableLine(path, number, reason)
    try:
        return decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return UnreadableLine(path, number, "damaged, or written by a newer version")


def _time(entry: JournalEntry) -> float:
    return entry.at


def _is_at_end(file: IO[bytes]) -> bool:
    position = file.tell()
    is_at_end = not file.read(1)
    file.seek(position)
    return is_at_end


def _next_line(file: IO[bytes]) -> bytes:
    """Return the next line with its end; of a longer one only the beginning; empty at the end."""
    line = file.readline(limits.journal_line_bytes_max + 1)
    last = line
    while last and not last.endswith(b"\n"):
        last = file.readline(limits.journal_line_bytes_max + 1)
    return line if last else b""
