"""Compares the archive of a machine's audit with its signed checkpoints.

An honest archive can lack the oldest files, which its retention has deleted, and can have lines
that are newer than its last checkpoint. It has files that the machine has deleted meanwhile. What
the checkpoints in it say of a file, it has, because it got that first.
"""

from collections.abc import Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from crewgate.audit import folder as audit_folder
from crewgate.audit.checkpoints.chain import Chain
from crewgate.audit.checkpoints.checkpoint import FileMark
from crewgate.audit.checkpoints.file_comparison import AuditSource, FileComparison
from crewgate.audit.checkpoints.findings import Finding, FindingKind, HeldCheckpoint
from crewgate.audit.checkpoints.part_choice import choose
from crewgate.audit.checkpoints.verification import VerificationReport, is_too_old, report_of
from crewgate.audit.file_part import FilePart
from crewgate.errors import AuditReadError


class ArchiveSource(AuditSource, Protocol):
    """The audit files in an archive, which `open` and `size` read from their parts.

    AuditReadError: an object has not what its name says.
    """

    parts: dict[str, list[FilePart]]
    """The parts of each file, sorted. `open` takes them all, one after the other."""

    strangers: list[tuple[str, str]]
    """The names of objects that the export did not write, each with what is wrong with it."""

    def read(self, part: FilePart) -> Iterator[bytes]:
        """Yield the bytes of a part. FileNotFoundError: its object has just been deleted."""


def verify_archive(
    log: Path, keys: Collection[str], source: ArchiveSource, held: Sequence[HeldCheckpoint] = ()
) -> VerificationReport:
    """Verify the files of `source` by the checkpoints in the folder `log`, which came with them.

    `keys` are the public keys that may have signed them, and `held` is known elsewhere; the archive
    may lack the newest of these. Raises OSError.
    """
    chain = Chain(log, keys)
    chain.read(held, [], is_copy=True, is_behind=True)
    archive = _Archive(chain, source)
    archive.compare_all()
    return report_of(chain, archive.files, archive.find_removed())


class _Archive:
    def __init__(self, chain: Chain, source: ArchiveSource) -> None:
        self.files = FileComparison(chain, source)
        self._chain, self._source = chain, source
        self._marks = {name: gone.mark for name, gone in chain.gone.items()} | chain.marks
        # A file without its beginning is as good as none: nobody can verify the rest.
        self._whole = {name for name, parts in source.parts.items() if parts[0].begin == 0}

    def compare_all(self) -> None:
        """Compare each file that is there."""
        for name, why in self._source.strangers:
            self._add(FindingKind.INSERTED, name, why)
        for name in sorted(self._whole, key=_order):
            choice = choose(
                self._source.parts[name], partial(self._signed_marks, name), self._source.read
            )
            self.files.findings += choice.findings
            if not choice.parts:
                continue
            self._source.parts[name] = choice.parts
            try:
                self._compare(name, self._marks.get(name))
            except AuditReadError as error:
                self._add(FindingKind.CHANGED, name, str(error))

    def _signed_marks(self, name: str) -> list[FileMark]:
        return [mark for _, mark in self._chain.times_of(name)]

    def _compare(self, name: str, mark: FileMark | None) -> None:
        if mark is not None:
            self.files.compare(mark)
        elif is_too_old(self._chain, name):
            until = self._chain.until
            why = f"it was not there at checkpoints until {until:%Y-%m-%d %H:%M:%S} UTC"
            self._add(FindingKind.INSERTED, name, why)
        else:
            self.files.add_unsigned(name)

    def find_removed(self) -> int:
        """Find the files that retention did not delete; return how many it has deleted."""
        gone = 0
        for name in sorted(self._marks.keys() | self._source.parts.keys(), key=_order):
            mark = self._marks.get(name)
            if name in self._whole or (mark is not None and not mark.bytes):
                continue
            if name in self._source.parts:
                why = "its beginning is not in the archive, so nothing proves the rest"
                self._add(FindingKind.REMOVED, name, why)
            elif mark is not None and self._must_be_there(mark):
                why = "it is not in the archive, and retention would have deleted others first"
                if name not in self._chain.marks:
                    why += "; or the machine had deleted it before the archive had it"
                self._add(FindingKind.REMOVED, name, why)
            else:
                gone += 1
        return gone

    def _must_be_there(self, mark: FileMark) -> bool:
        """Whether neither retention nor a beginning of the archive explains that a file is gone."""
        lost = self._chain.gone.get(mark.name)
        older = [each for each in self._whole if _order(each) < _order(mark.name)]
        if lost is None:
            return bool(older) or not (mark.is_finished or mark.name in self._chain.left)
        # The machine deletes files that it has left, the oldest first. So if one of these is in
        # the archive, the archive was there when the machine still had the file.
        return any(self._chain.is_finished_before(each, lost.number) for each in older)

    def _add(self, kind: FindingKind, name: str, why: str) -> None:
        self.files.findings.append(Finding(kind, name, why))


def _order(name: str) -> tuple[int, str]:
    return audit_folder.started_us(Path(name)), name
