"""Compares lines of audit files with the signed checkpoints of their machine.

For each file, the first checkpoint counts that covers all of the lines. It reads each file up to
that mark only. What it digests must have the lines: a file that somebody changes between the
search and this reading proves nothing.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import msgspec

from crewgate.audit.checkpoints.checkpoint import Checkpoint, FileMark, SignedCheckpoint, read
from crewgate.audit.checkpoints.log import begun, lines, log_files
from crewgate.audit.replay.statement import CHANGED, UNSIGNED
from crewgate.runtime.cleanup import lent

_PIECE = 2**20  # bytes
_decode = msgspec.json.Decoder(Checkpoint).decode
# The lines of a file, without their newlines, by their offsets.
FileLines = Mapping[int, bytes]


class Coverage(NamedTuple):
    """For the offset of each line, by file: the number of a checkpoint, `UNSIGNED` or `CHANGED`.

    `checkpoints` are those, by number. `newest` is the number of the last one; 0 without one.
    """

    covers: Mapping[str, Mapping[int, str]]
    checkpoints: Mapping[int, SignedCheckpoint]
    newest: int


class _Marked(NamedTuple):
    """A mark, and the line of its checkpoint, whose signature was not verified yet."""

    mark: FileMark
    line: bytes


class _Search:
    """The marks in the log of the files with lines, until each file is covered.

    `last` is the last whole line of the log.
    """

    def __init__(self, wanted: Mapping[str, FileLines]) -> None:
        self.marks: dict[str, list[_Marked]] = {name: [] for name in wanted}
        self.last = b""
        self._first = {name: min(_ends(of)) for name, of in wanted.items()}
        self._left = {name: max(_ends(of)) for name, of in wanted.items()}

    def read(self, path: Path) -> None:
        with suppress(FileNotFoundError):  # the gateway has just deleted its oldest file
            for line in lines(path):
                if line.endswith(b"\n"):
                    self.last = line[:-1]
                    if any(name.encode() in line for name in self._left):
                        self._note(line[:-1])

    def _note(self, line: bytes) -> None:
        try:
            checkpoint = _decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        for mark in checkpoint.files:
            if mark.bytes >= self._first.get(mark.name, mark.bytes + 1):
                self.marks[mark.name].append(_Marked(mark, line))
                if mark.bytes >= self._left.get(mark.name, mark.bytes + 1):
                    del self._left[mark.name]


def cover(
    folder: Path, key: str, wanted: Mapping[str, FileLines], since: datetime | None
) -> Coverage:
    """Find the checkpoints that `key` has signed for the lines of files.

    `since` is a time before the first line was written, if it is known. Raises OSError.
    """
    search = _Search(wanted)
    for path in _since(log_files(folder), since):
        search.read(path)
    last = _signed(search.last, key)
    covers, used = {}, {}
    for name, found in search.marks.items():
        compared = _compared(folder / name, found, wanted[name], key)
        covers[name] = {
            at: compared.cover(at, at + len(line) + 1) for at, line in wanted[name].items()
        }
        if compared.good is not None:
            _, signed = compared.good
            used[signed.checkpoint.number] = signed
    newest = 0 if last is None else last.checkpoint.number
    return Coverage(covers, dict(sorted(used.items())), newest)


def _ends(found: FileLines) -> list[int]:
    """Return the bytes after the newlines of lines."""
    return [at + len(line) + 1 for at, line in found.items()]


def _since(paths: list[Path], since: datetime | None) -> list[Path]:
    """Return the files from the last one on that began before `since`."""
    if since is None:
        return paths
    before = [at for at, path in enumerate(paths) if _is_before(path, since)]
    return paths[max(before, default=0) :]


def _is_before(path: Path, since: datetime) -> bool:
    try:
        return begun(path) < since
    except ValueError:  # no process gave it this name, such as a thirteenth month
        return False


def _signed(line: bytes, key: str) -> SignedCheckpoint | None:
    with suppress(ValueError):
        found = read(line)
        if found.is_signed and found.checkpoint.key == key:
            return found
    return None


class _Compared(NamedTuple):
    """The mark that counts, if any, and up to which byte later marks are not as signed.

    `moved` has the offsets of lines that the file did not have when it was digested.
    """

    good: tuple[FileMark, SignedCheckpoint] | None
    changed: int
    moved: set[int]

    def cover(self, begin: int, end: int) -> str:
        """Return what covers these bytes."""
        if begin in self.moved:
            return CHANGED
        if self.good is not None and self.good[0].bytes >= end:
            return str(self.good[1].checkpoint.number)
        return CHANGED if self.changed >= end else UNSIGNED


def _compared(path: Path, marks: Sequence[_Marked], wanted: FileLines, key: str) -> _Compared:
    """Find the first mark that covers each line up to which the file is as it was signed.

    What another key has signed says nothing. A signature is verified only if that matters.
    """
    matching: list[_Marked] = []
    changed, ends = 0, _ends(wanted)
    reading = _Reading(wanted)
    for each, is_same in reading.matches(path, sorted(marks, key=lambda each: each.mark.bytes)):
        if is_same:
            matching.append(each)
            if each.mark.bytes >= max(ends) and _signed(each.line, key) is not None:
                break
        elif _signed(each.line, key) is not None:
            changed = each.mark.bytes
    while matching and _signed(matching[-1].line, key) is None:
        matching.pop()
    last = matching[-1].mark.bytes if matching else 0
    end = max((end for end in ends if end <= last), default=0)
    for each in matching if end else ():
        signed = _signed(each.line, key) if each.mark.bytes >= end else None
        if signed is not None:
            return _Compared((each.mark, signed), changed, reading.moved)
    return _Compared(None, changed, reading.moved)


class _Reading:
    """Digests a file once, and notes which of the wanted lines it does not have."""

    def __init__(self, wanted: FileLines) -> None:
        self.moved: set[int] = set()
        self._wanted = sorted((at, line + b"\n") for at, line in wanted.items())
        self._next = 0  # the first line that was not wholly read
        self._digest, self._at = sha256(), 0

    def matches(self, path: Path, marks: Sequence[_Marked]) -> Iterator[tuple[_Marked, bool]]:
        """Yield each mark, and whether the file agrees with it; nothing if the file is gone."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return
        with lent(descriptor):
            for each in marks:
                self._read(descriptor, each.mark.bytes)
                is_same = self._digest.hexdigest() == each.mark.sha256
                yield each, self._at == each.mark.bytes and is_same

    def _read(self, descriptor: int, size: int) -> None:
        while self._at < size:
            piece = os.pread(descriptor, min(_PIECE, size - self._at), self._at)
            if not piece:
                return
            self._digest.update(piece)
            self._compare(piece)
            self._at += len(piece)

    def _compare(self, piece: bytes) -> None:
        begin, end = self._at, self._at + len(piece)
        for at, line in self._wanted[self._next :]:
            if at >= end:
                return
            low, high = max(at, begin), min(at + len(line), end)
            if piece[low - begin : high - begin] != line[low - at : high - at]:
                self.moved.add(at)
            if at + len(line) > end:
                return
            self._next += 1
