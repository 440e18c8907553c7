"""Compares the audit files of a machine with its signed checkpoints.

An honest folder can lack files that retention has deleted, and can have lines that are newer than
the last checkpoint: of the last seconds, or of a machine that was killed and has not been started
since. Everything else that differs is a finding.
"""

import enum
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from crewgate import limits
from crewgate.audit import folder as audit_folder
from crewgate.audit.checkpoints.checkpoint import Checkpoint, FileMark, SignedCheckpoint, read
from crewgate.audit.checkpoints.log import lines, log_files

_PIECE = 2**20  # bytes


class FindingKind(enum.StrEnum):
    """What differs from the checkpoints.

    - `CHANGED`: bytes of a file are not those that were signed.
    - `CUT`: a file lacks bytes at its end.
    - `GROWN`: bytes follow in a file that its process had left.
    - `INSERTED`: a file was not there at checkpoints that were made after its beginning.
    - `REMOVED`: a file is not there, and retention did not delete it.
    - `LOG`: the checkpoints themselves are not one chain that the machine's key has signed.
    """

    CHANGED = "changed"
    CUT = "cut"
    GROWN = "grown"
    INSERTED = "inserted"
    REMOVED = "removed"
    LOG = "log"


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One difference. `begin` and `end` are bytes of the file, between which it lies.

    The lines there were signed after `since` and until `until`, as far as the log knows.
    """

    kind: FindingKind
    file: str
    why: str
    begin: int | None = None
    end: int | None = None
    since: datetime | None = None
    until: datetime | None = None


class HeldCheckpoint(msgspec.Struct, frozen=True):
    """A checkpoint that the log must have, since `holder` knows it, perhaps `since` a time.

    A log that begins later need not have it.
    """

    holder: str
    number: int
    digest: str
    since: datetime | None = None


class UnsignedPart(msgspec.Struct, frozen=True):
    """What follows in a file after the last checkpoint: its whole lines, and its bytes."""

    file: str
    lines: int
    bytes: int


class VerificationReport(msgspec.Struct, frozen=True):
    """The result for one folder.

    `checkpoints` were read, the first of which has the number `first`, with the times `since` and
    `until`. `files`, `lines` and `bytes` are as they were signed. `gone` files were deleted, as
    retention does. `more` findings are not listed.
    """

    checkpoints: int
    first: int
    since: datetime | None
    until: datetime | None
    files: int
    lines: int
    bytes: int
    gone: int
    unsigned: list[UnsignedPart]
    findings: list[Finding]
    more: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


def verify(
    folder: Path, keys: Collection[str], held: Sequence[HeldCheckpoint] = (), *, is_pruned: bool
) -> VerificationReport:
    """Verify the audit in a folder; `keys` are the public keys that may have signed it.

    `held` are known elsewhere, and were so before the call. `is_pruned`: retention deletes the
    oldest files. Raises OSError.
    """
    chain = _Chain(folder, keys)
    chain.read(held)
    # Later than the checkpoints: while a gateway serves, files only grow, and others begin.
    paths = {path.name: path for path in audit_folder.files(folder)}
    files = _Files(chain, paths)
    for name, mark in chain.marks.items():
        if name in paths:
            files.compare(paths[name], mark)
    files.find_inserted()
    gone = files.find_removed(is_pruned=is_pruned)
    found = [*chain.findings, *files.findings]
    return VerificationReport(
        chain.count,
        chain.first,
        chain.since,
        chain.until,
        files.count,
        files.lines,
        files.bytes,
        gone,
        files.unsigned,
        found[: limits.audit_verify_findings_max],
        max(0, len(found) - limits.audit_verify_findings_max),
    )


class _Gone(NamedTuple):
    """A file that a checkpoint no longer found at `time`; None: that no checkpoint has noted.

    `elder` is the youngest file that began before it, had been left by its process, and was still
    there. Retention deletes such files first.
    """

    mark: FileMark
    time: datetime | None
    elder: str | None


class _Chain:
    """The checkpoints of the log, one after another, and the newest mark of each file."""

    def __init__(self, folder: Path, keys: Collection[str]) -> None:
        self.marks: dict[str, FileMark] = {}
        self.gone: dict[str, _Gone] = {}
        self.findings: list[Finding] = []
        self.count = self.first = 0
        self.since: datetime | None = None
        self.until: datetime | None = None
        self._folder, self._keys = folder, keys
        self._before: SignedCheckpoint | None = None
        self._finished_in: dict[str, int] = {}  # the number of the first such checkpoint

    def read(self, held: Sequence[HeldCheckpoint]) -> None:
        missing = {(each.number, each.digest) for each in held}
        for path, line in _log_lines(self._folder):
            try:
                signed = read(line.removesuffix(b"\n"))
            except ValueError as error:
                if line.endswith(b"\n"):  # it is not torn
                    self._add(path, f"a line is no checkpoint: {error}")
                continue
            if self._is_good(path, signed):
                self._take(signed)
                missing.discard((signed.checkpoint.number, signed.digest))
        for each in held:
            if (each.number, each.digest) in missing and each.number >= self.first:
                when = "" if each.since is None else f" since {each.since:%Y-%m-%d %H:%M:%S} UTC"
                why = f"it lacks checkpoint {each.number}, which {each.holder} has known{when}"
                self._add(self._folder, why)

    def times_of(self, name: str) -> Iterator[tuple[datetime, FileMark]]:
        """Yield the marks of a file, the oldest first, with the times of their checkpoints."""
        for _, line in _log_lines(self._folder):
            if name.encode() not in line:
                continue
            try:
                checkpoint = read(line.removesuffix(b"\n")).checkpoint
            except ValueError:
                continue
            yield from ((checkpoint.time, mark) for mark in checkpoint.files if mark.name == name)

    def _is_good(self, path: Path, signed: SignedCheckpoint) -> bool:
        checkpoint, before = signed.checkpoint, self._before
        if not signed.is_signed:
            self._add(path, f"the signature of checkpoint {checkpoint.number} is wrong")
            return False
        if checkpoint.key not in self._keys:
            self._add(path, f"another key has signed checkpoint {checkpoint.number}")
            return False
        if before is None:
            if not checkpoint.is_full:
                self._add(path, f"the log begins in the middle, at checkpoint {checkpoint.number}")
        elif (
            checkpoint.before != before.digest or checkpoint.number != before.checkpoint.number + 1
        ):
            numbers = f"{before.checkpoint.number} and {checkpoint.number}"
            self._add(path, f"checkpoints {numbers} do not follow each other")
        return True

    def _take(self, signed: SignedCheckpoint) -> None:
        checkpoint: Checkpoint = signed.checkpoint
        if self._before is None:
            self.first, self.since = checkpoint.number, checkpoint.time
        self.count += 1
        self.until = checkpoint.time
        self._before = signed
        gone = [mark for name in checkpoint.gone if (mark := self.marks.pop(name, None))]
        for mark in gone:
            elder = self._elder(mark.name, checkpoint.number, self.marks)
            self.gone[mark.name] = _Gone(mark, checkpoint.time, elder)
        for mark in checkpoint.files:
            known = self.marks.get(mark.name)
            if known is None or mark.bytes >= known.bytes:
                self.marks[mark.name] = mark
            if mark.is_finished:
                self._finished_in.setdefault(mark.name, checkpoint.number)

    def missing(self, left: Collection[str]) -> dict[str, _Gone]:
        """Return the files that are not among those that are `left`."""
        there = [name for name in self.marks if name in left]
        number = 0 if self._before is None else self._before.checkpoint.number + 1
        found = {
            name: _Gone(mark, None, self._elder(name, number, there))
            for name, mark in self.marks.items()
            if name not in left
        }
        return self.gone | found

    def _elder(self, name: str, number: int, there: Iterable[str]) -> str | None:
        """Return `_Gone.elder` of a file that checkpoint `number` no longer finds.

        The checkpoint before may have found it, and seen later that the elder was finished.
        """
        start = audit_folder.started_us(Path(name))
        elders = [
            (began, each)
            for each in there
            if self._finished_in.get(each, number) < number - 1
            and (began := audit_folder.started_us(Path(each))) < start
        ]
        return max(elders)[1] if elders else None

    def _add(self, path: Path, why: str) -> None:
        self.findings.append(Finding(FindingKind.LOG, path.name, why))


class _Files:
    """Compares the audit files with the newest marks."""

    def __init__(self, chain: _Chain, paths: dict[str, Path]) -> None:
        self.count = self.lines = self.bytes = 0
        self.unsigned: list[UnsignedPart] = []
        self.findings: list[Finding] = []
        self._chain, self._paths = chain, paths

    def compare(self, path: Path, mark: FileMark) -> None:
        try:
            size = path.stat().st_size
            digest, count, read_bytes = _digest(path, 0, mark.bytes, sha256())
        except FileNotFoundError:  # retention has just deleted it
            return
        if read_bytes == mark.bytes and digest.hexdigest() == mark.sha256:
            self.count += 1
            self.lines += count
            self.bytes += mark.bytes
            self._look_behind(path, mark, size)
            return
        self.findings.append(self._difference(path, mark, size))

    def find_inserted(self) -> None:
        until = self._chain.until
        for name, path in self._paths.items():
            if name in self._chain.marks:
                continue
            began = audit_folder.started_us(path) / 1e6
            if (
                until is not None
                and began < until.timestamp() - limits.audit_checkpoint_late_seconds
            ):
                why = f"it was not there at checkpoints until {until:%Y-%m-%d %H:%M:%S} UTC"
                self.findings.append(Finding(FindingKind.INSERTED, name, why))
            else:
                self._add_unsigned(path, 0)

    def find_removed(self, *, is_pruned: bool) -> int:
        """Find the files that retention did not delete; return how many it has deleted."""
        gone = 0
        for name, lost in self._chain.missing(self._paths).items():
            if not lost.mark.bytes:  # a writer deletes its file if its disk does not take a line
                continue
            if name in self._paths:
                why = "it was gone at a checkpoint, and is there again"
                self.findings.append(Finding(FindingKind.INSERTED, name, why))
                continue
            if is_pruned and not self._was_outlived(lost):
                gone += 1
                continue
            why = "it is gone, and retention would have deleted older files first"
            if not is_pruned:
                why = "it is gone, and [audit] keep_bytes sets no retention that deletes files"
            self.findings.append(Finding(FindingKind.REMOVED, name, why))
        return gone

    def _was_outlived(self, lost: _Gone) -> bool:
        """Whether an older file that retention would have deleted first is there, or was later."""
        if lost.elder is None:
            return False
        elder = self._chain.gone.get(lost.elder)
        if elder is None or elder.time is None or lost.time is None:
            return lost.elder in self._paths and self._paths[lost.elder].exists()
        # Two processes that delete at once are not in this order.
        return (elder.time - lost.time).total_seconds() > limits.audit_checkpoint_late_seconds

    def _look_behind(self, path: Path, mark: FileMark, size: int) -> None:
        if size == mark.bytes:
            return
        if mark.is_finished:
            why = "bytes follow after its process had left it"
            found = Finding(FindingKind.GROWN, path.name, why, begin=mark.bytes, end=size)
            self.findings.append(found)
        else:
            self._add_unsigned(path, mark.bytes)

    def _add_unsigned(self, path: Path, begin: int) -> None:
        try:
            _, count, size = _digest(path, begin, None, sha256())
        except FileNotFoundError:
            return
        if size:
            self.unsigned.append(UnsignedPart(path.name, count, size))

    def _difference(self, path: Path, mark: FileMark, size: int) -> Finding:
        """Find between which marks a file is no longer as it was signed."""
        digest, at, since = sha256(), 0, None
        for time, each in self._chain.times_of(path.name):
            if each.bytes > at or each.bytes == mark.bytes:
                digest, _, _ = _digest(path, at, each.bytes - at, digest)
                if digest.hexdigest() != each.sha256:
                    kind = FindingKind.CUT if size < each.bytes else FindingKind.CHANGED
                    why = f"bytes {at} to {each.bytes} are not as they were signed"
                    if kind is FindingKind.CUT:
                        why = f"it has {size} bytes; bytes up to {each.bytes} were signed"
                    return Finding(kind, path.name, why, at, each.bytes, since, time)
                at, since = each.bytes, time
        why = "it is not as it was signed"
        return Finding(FindingKind.CHANGED, path.name, why, at, mark.bytes, since)


def _log_lines(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Yield each line of the log, as `lines` does, with its file."""
    for path in log_files(folder):
        for line in lines(path):
            yield path, line


def _without_waiting(path: str, flags: int) -> int:
    """Open a file; what stands in its place, such as a pipe, must not hold the command."""
    return os.open(path, flags | os.O_NONBLOCK)


def _digest(
    path: Path,
    begin: int,
    size: int | None,
    digest: Any,  # noqa: ANN401 - hashlib has no type
) -> tuple[Any, int, int]:
    """Digest a part of a file; return the digest, the newlines in it, and the bytes read."""
    digest, count, done = digest.copy(), 0, 0
    with open(path, "rb", opener=_without_waiting) as file:
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
