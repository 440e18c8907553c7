"""Compares audit files with what checkpoints say of them: those of a folder, or of an archive."""

import os
import stat
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import msgspec

from crewgate.audit.checkpoints.chain import Chain
from crewgate.audit.checkpoints.checkpoint import FileMark
from crewgate.audit.checkpoints.findings import Finding, FindingKind

_PIECE = 2**20  # bytes
NO_FILE = "a link, a folder or a pipe stands in its place"


class AuditSource(Protocol):
    """The place of audit files, each by its name. FileNotFoundError: it has just been deleted."""

    def size(self, name: str) -> int:
        """Return the bytes of a file."""

    def open(self, name: str) -> BinaryIO:
        """Open a file to read it from its beginning."""


class FolderSource:
    """The files of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def size(self, name: str) -> int:
        """See `AuditSource`."""
        return (self._folder / name).stat().st_size

    def open(self, name: str) -> BinaryIO:
        """See `AuditSource`."""
        return (self._folder / name).open("rb")

    def is_file(self, name: str) -> bool:
        """Whether it is a file, or has just been deleted; nobody reads a link, pipe or folder."""
        try:
            return stat.S_ISREG((self._folder / name).lstat().st_mode)
        except FileNotFoundError:
            return True


class UnsignedPart(msgspec.Struct, frozen=True):
    """What follows in a file after the last checkpoint: its whole lines, and its bytes."""

    file: str
    lines: int
    bytes: int


class FileComparison:
    """What the files of a source are: as they were signed, not signed, or changed.

    `count`, `lines` and `bytes` are of what is as it was signed.
    """

    def __init__(self, chain: Chain, source: AuditSource) -> None:
        self.count = self.lines = self.bytes = 0
        self.unsigned: list[UnsignedPart] = []
        self.findings: list[Finding] = []
        self._chain, self._source = chain, source

    def compare(self, mark: FileMark) -> None:
        """Compare a file with its newest mark."""
        try:
            size = self._source.size(mark.name)
            digest, count, read_bytes = self._digest(mark.name, 0, mark.bytes, sha256())
        except FileNotFoundError:  # retention has just deleted it
            return
        if read_bytes == mark.bytes and digest.hexdigest() == mark.sha256:
            self.count += 1
            self.lines += count
            self.bytes += mark.bytes
            self._look_behind(mark, size)
            return
        self.findings.append(self._difference(mark, size))

    def add_unsigned(self, name: str, begin: int = 0) -> None:
        """Note that nobody has signed a file from `begin` on."""
        try:
            _, count, size = self._digest(name, begin, None, sha256())
        except FileNotFoundError:
            return
        if size:
            self.unsigned.append(UnsignedPart(name, count, size))

    def _look_behind(self, mark: FileMark, size: int) -> None:
        if size == mark.bytes:
            return
        if mark.is_finished:
            why = "bytes follow after its process had left it"
            found = Finding(FindingKind.GROWN, mark.name, why, begin=mark.bytes, end=size)
            self.findings.append(found)
        else:
            self.add_unsigned(mark.name, mark.bytes)

    def _difference(self, mark: FileMark, size: int) -> Finding:
        """Find between which marks a file is no longer as it was signed."""
        digest, at, since = sha256(), 0, None
        for time, each in self._chain.times_of(mark.name):
            if each.bytes > at or each.bytes == mark.bytes:
                digest, _, _ = self._digest(mark.name, at, each.bytes - at, digest)
                if digest.hexdigest() != each.sha256:
                    kind = FindingKind.CUT if size < each.bytes else FindingKind.CHANGED
                    why = f"bytes {at} to {each.bytes} are not as they were signed"
                    if kind is FindingKind.CUT:
                        why = f"it has {size} bytes; bytes up to {each.bytes} were signed"
                    return Finding(kind, mark.name, why, at, each.bytes, since, time)
                at, since = each.bytes, time
        why = "it is not as it was signed"
        return Finding(FindingKind.CHANGED, mark.name, why, at, mark.bytes, since)

    def _digest(
        self,
        name: str,
        begin: int,
        size: int | None,
        digest: Any,  # noqa: ANN401 - hashlib has no type
    ) -> tuple[Any, int, int]:
        """Digest a part of a file; return the digest, the newlines in it, and the bytes read."""
        digest, count, done = digest.copy(), 0, 0
        with self._source.open(name) as file:
            if begin:
                file.seek(begin, os.SEEK_SET)
            while size is None or done < size:
                piece = file.read(_PIECE if size is None else min(_PIECE, size - done))
                if not piece:
                    break
                digest.update(piece)
                count += piece.count(b"\n")
                done += len(piece)
        return digest, count, done
