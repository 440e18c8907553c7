"""Says which objects of an archive an audit file is rebuilt from.

Those of an honest archive follow one another, so all are taken. Anybody who can write to the
archive can add others under such names. Then the checkpoints decide: those are taken whose bytes
the machine has signed.
"""

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from itertools import accumulate
from typing import Any, NamedTuple

from crewgate import limits
from crewgate.audit.checkpoints.checkpoint import FileMark
from crewgate.audit.checkpoints.findings import Finding, FindingKind
from crewgate.audit.file_part import FilePart
from crewgate.errors import AuditReadError

ReadPart = Callable[[FilePart], Iterator[bytes]]
"""Yields the bytes of a part. Raises AuditReadError or FileNotFoundError."""


class PartChoice(NamedTuple):
    """The parts to rebuild a file from, each of which begins where the one before ends.

    Without any, the file cannot be rebuilt, and the findings say why.
    """

    parts: list[FilePart]
    findings: list[Finding]


def choose(
    parts: Sequence[FilePart], marks: Callable[[], Sequence[FileMark]], read: ReadPart
) -> PartChoice:
    """Choose among the sorted parts of one file, the first of which begins at byte 0.

    `marks` returns those that the machine has signed of the file, the oldest first.
    """
    why = _fault(parts)
    if not why:
        return PartChoice([*parts], [])
    name = parts[0].file
    fault = Finding(FindingKind.CHANGED, name, why)
    search = _Search(parts, marks(), read)
    chosen = search.signed_parts()
    if not chosen:
        if search.is_too_long:
            why += f"; {limits.archive_choice_objects_max} objects were read to find those of the "
            why += "machine: move away those that it has not written, and verify again"
            fault = Finding(FindingKind.CHANGED, name, why)
        return PartChoice([], [fault])
    chosen, findings = _with_tail(chosen, parts)
    taken, end = {*chosen}, chosen[-1].end
    findings += [_extra(part) for part in parts if part not in taken and part.begin < end]
    return PartChoice(chosen, findings)


def _with_tail(
    chosen: list[FilePart], parts: Sequence[FilePart]
) -> tuple[list[FilePart], list[Finding]]:
    """Add the parts that follow what was signed; find why one cannot follow."""
    signed_end = chosen[-1].end
    tail = [part for part in parts if part.begin >= signed_end]
    why = _fault(tail, signed_end)
    if why:
        why = f"after what was signed, {why}"
        return chosen, [Finding(FindingKind.CHANGED, chosen[0].file, why)]
    return chosen + tail, []


def _extra(part: FilePart) -> Finding:
    why = (
        "other objects have its bytes as the machine signed them, and a query reads the rows of "
        "this one too; keep a copy, find out who has put it there, and delete it"
    )
    return Finding(FindingKind.INSERTED, f"day={part.day}/{part.object_name}", why)


def _fault(parts: Sequence[FilePart], end: int = 0) -> str:
    """Return why a file cannot be rebuilt from all parts; empty if each begins where one ended."""
    for number, part in enumerate(parts, 1):
        if part.begin > end:
            return f"the archive has no object with its bytes {end} to {part.begin}"
        if part.begin < end:
            return f"two objects have its bytes {part.begin} to {min(end, part.end)}"
        end = part.end
        if number > limits.archive_file_objects_max or end > limits.archive_file_bytes_max:
            return (
                f"the archive has {len(parts)} objects of it, up to byte {parts[-1].end}, and an "
                f"audit file has at most {limits.archive_file_objects_max} objects and "
                f"{limits.archive_file_bytes_max} bytes; move away those that the machine has not "
                "written, and verify again"
            )
    return ""


class _State(NamedTuple):
    """How far a sequence of parts has come: its end, its SHA-256, and the next mark."""

    end: int
    digest: Any
    mark: int


class _Search:
    """Looks for a sequence of parts that has what was signed: one after the other, deepest first.

    A part that differs from a mark within it ends its sequence. A mark is made every few seconds,
    so that of several parts with the same bytes, nearly always only one is left at once.
    """

    def __init__(
        self, parts: Sequence[FilePart], marks: Sequence[FileMark], read: ReadPart
    ) -> None:
        self.is_too_long = False
        self._read, self._count = read, 0
        # A mark of fewer bytes than one before is of a file that became shorter.
        most = accumulate((mark.bytes for mark in marks), max)
        rising = [mark for mark, top in zip(marks, most, strict=True) if mark.bytes == top]
        self._marks = [mark for mark in rising if mark.bytes]
        self._at: dict[int, list[FilePart]] = {}
        for part in parts:
            self._at.setdefault(part.begin, []).append(part)
        self._useful = self._leading_to(self._marks[-1].bytes) if self._marks else set()

    def signed_parts(self) -> list[FilePart]:
        """Return the parts that have all that was signed; none if there is no such sequence."""
        path: list[FilePart] = []
        waiting = [iter(self._candidates(0))]
        states = [_State(0, sha256(), 0)]
        while waiting and len(path) <= limits.archive_file_objects_max:
            part = next(waiting[-1], None)
            if part is None:
                waiting.pop()
                states.pop()
                path = path[: len(states) - 1]
                continue
            if self._count == limits.archive_choice_objects_max:
                self.is_too_long = True
                return []
            state = self._after(states[-1], part)
            if state is None:
                continue
            path.append(part)
            if state.mark == len(self._marks):
                return path
            states.append(state)
            waiting.append(iter(self._candidates(state.end)))
        return []

    def _candidates(self, begin: int) -> list[FilePart]:
        found = [part for part in self._at.get(begin, ()) if part in self._useful]
        return sorted(found, key=lambda part: (part.variant == "", -part.end))

    def _leading_to(self, end: int) -> set[FilePart]:
        """Return the parts from which others lead on to the byte `end`."""
        found: set[FilePart] = set()
        begins: set[int] = set()
        for begin in sorted(self._at, reverse=True):
            for part in self._at[begin]:
                if part.end >= end or part.end in begins:
                    found.add(part)
                    begins.add(begin)
        return found if 0 in begins else set()

    def _after(self, state: _State, part: FilePart) -> _State | None:
        """Return the state after one more part; None if the part differs from what was signed."""
        self._count += 1
        at, digest, mark = state.end, state.digest.copy(), state.mark
        try:
            for piece in self._read(part):
                done = 0
                while mark < len(self._marks) and self._marks[mark].bytes <= at + len(piece):
                    size = self._marks[mark].bytes - at
                    digest.update(piece[done:size])
                    done = size
                    if digest.hexdigest() != self._marks[mark].sha256:
                        return None
                    mark += 1
                digest.update(piece[done:])
                at += len(piece)
        except (AuditReadError, FileNotFoundError):
            return None
        return _State(part.end, digest, mark)
