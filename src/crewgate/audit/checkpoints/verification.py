"""Compares the audit files of a machine with its signed checkpoints.

An honest folder can lack files that retention has deleted, and can have lines that are newer than
the last checkpoint: of the last seconds, or of a machine that was killed and has not been started
since. Everything else that differs is a finding.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from crewgate import limits
from crewgate.audit import folder as audit_folder
from crewgate.audit.checkpoints.chain import Chain, Gone
from crewgate.audit.checkpoints.file_comparison import (
    NO_FILE,
    FileComparison,
    FolderSource,
    UnsignedPart,
)
from crewgate.audit.checkpoints.findings import Finding, FindingKind, HeldCheckpoint


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
    source = FolderSource(folder)
    files = FileComparison(chain, source)
    for name, mark in chain.marks.items():
        if name in paths and source.is_file(name):
            files.compare(mark)
        elif name in paths:
            files.findings.append(Finding(FindingKind.CHANGED, name, NO_FILE))
    listed = _ListedFiles(chain, files, paths)
    listed.find_inserted(source)
    gone = listed.find_removed(is_pruned=is_pruned)
    return report_of(chain, files, gone)


def report_of(chain: Chain, files: FileComparison, gone: int) -> VerificationReport:
    """Return the report about files, of which `gone` were deleted as retention does."""
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


def is_too_old(chain: Chain, name: str) -> bool:
    """Whether a file that no checkpoint has began so early that one would have it."""
    began = audit_folder.started_us(Path(name)) / 1e6
    late = limits.audit_checkpoint_late_seconds
    return chain.until is not None and began < chain.until.timestamp() - late


class _ListedFiles:
    """Compares which files are there with the newest marks."""

    def __init__(self, chain: Chain, files: FileComparison, paths: dict[str, Path]) -> None:
        self._chain, self._files, self._paths = chain, files, paths

    def find_inserted(self, source: FolderSource) -> None:
        for name in self._paths:
            if name in self._chain.marks:
                continue
            if not source.is_file(name):
                self._add(FindingKind.INSERTED, name, NO_FILE)
            elif is_too_old(self._chain, name):
                until = self._chain.until
                why = f"it was not there at checkpoints until {until:%Y-%m-%d %H:%M:%S} UTC"
                self._add(FindingKind.INSERTED, name, why)
            else:
                self._files.add_unsigned(name)

    def find_removed(self, *, is_pruned: bool) -> int:
        """Find the files that retention did not delete; return how many it has deleted."""
        gone = 0
        for name, lost in self._chain.missing(self._paths).items():
            if not lost.mark.bytes:  # a writer deletes its file if its disk does not take a line
                continue
            if name in self._paths:
                why = "it was gone at a checkpoint, and is there again"
                self._add(FindingKind.INSERTED, name, why)
                continue
            if is_pruned and not self._was_outlived(lost):
                gone += 1
                continue
            why = "it is gone, and retention would have deleted older files first"
            if not is_pruned:
                why = "it is gone, and [audit] keep_bytes sets no retention that deletes files"
            self._add(FindingKind.REMOVED, name, why)
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

    def _add(self, kind: FindingKind, name: str, why: str) -> None:
        self._files.findings.append(Finding(kind, name, why))
