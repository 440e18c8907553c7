"""Compares the audit files of a machine with its signed checkpoints.

An honest folder can lack files that retention has deleted, and can have lines that are newer than
the last checkpoint: of the last seconds, or of a machine that was killed and has not been started
since. Everything else that differs is a finding.
"""

import os
import stat
from collections.abc import Collection, Sequence
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from crewgate import limits
from crewgate.audit import folder as audit_folder
from crewgate.audit.checkpoints.chain import Chain, Gone
from crewgate.audit.checkpoints.checkpoint import FileMark
from crewgate.audit.checkpoints.findings import Finding, FindingKind, HeldCheckpoint

_PIECE = 2**20  # bytes
_NO_FILE = "a link, a folder or a pipe stands in its place"


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
    folder: Path,
    keys: Collection[str],
    held: Sequence[HeldCheckpoint] = (),
    *,
    is_pruned: bool,
    is_copy: bool = False,
    others: Sequence[Path] = (),
) -> VerificationReport:
    """Verify the audit in a folder; `keys` are the public keys that may have signed it.

    `held` are known elsewhere, and were so before the call; one in `others`, the folders that the
    configuration named before, is not missing. `is_pruned`: retention deletes the oldest files.
    `is_copy`: the oldest files of the log may be missing. Raises OSError.
    """
    chain = Chain(folder, keys)
    chain.read(held, others, is_copy=is_copy)
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


class _Files:
    """Compares the audit files with the newest marks."""

    def __init__(self, chain: Chain, paths: dict[str, Path]) -> None:
        self.count = self.lines = self.bytes = 0
        self.unsigned: list[UnsignedPart] = []
        self.findings: list[Finding] = []
        self._chain, self._paths = chain, paths

    def compare(self, path: Path, mark: FileMark) -> None:
        if not _is_file(path):
            self.findings.append(Finding(FindingKind.CHANGED, path.name, _NO_FILE))
            return
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
            if not _is_file(path):
                self.findings.append(Finding(FindingKind.INSERTED, name, _NO_FILE))
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

    def _was_outlived(self, lost: Gone) -> bool:
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


def _is_file(path: Path) -> bool:
    """Whether it is a file, or has just been deleted; the command reads no link, pipe or folder."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return True


def _digest(
    path: Path,
    begin: int,
    size: int | None,
    digest: Any,  # noqa: ANN401 - hashlib has no type
) -> tuple[Any, int, int]:
    """Digest a part of a file; return the digest, the newlines in it, and the bytes read."""
    digest, count, done = digest.copy(), 0, 0
    with path.open("rb") as file:
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
