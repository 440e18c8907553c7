"""Joins the parts of the checkpoints that an archive has, for a verification.

Those of an honest archive follow one another. Anybody who can write to the archive can add others
under such names. Then that one is taken whose checkpoints the machine has signed, and which follow
those before. If a part is missing, or no copy of it is good, the chain shows the break.
"""

from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from crewgate import limits
from crewgate.audit.checkpoints import checkpoint
from crewgate.audit.checkpoints.checkpoint import SignedCheckpoint
from crewgate.errors import ObjectRefusedError, UnreadableObjectError
from crewgate.export.archive.object_names import CHECKPOINTS, LogPart, log_part_of
from crewgate.export.archive.store import ArchiveStore


async def fetch_log(
    store: ArchiveStore, folder: str, log: Path, keys: Collection[str]
) -> list[tuple[str, str]]:
    """Write the checkpoints of the machine in `folder` to files in the folder `log`.

    Return the names of the objects that somebody else has written, each with what is wrong with it.
    Raises ReceiverError or OSError.
    """
    files: dict[str, list[LogPart]] = {}
    for each in (await store.list(folder + CHECKPOINTS)).objects:
        part = log_part_of(each.name)
        if part is not None:
            files.setdefault(part.file, []).append(part)
    joining = _Joining(store, folder, keys)
    for name in sorted(files):
        await joining.join(sorted(files[name]), log / name)
    return joining.strangers


class _Candidate(NamedTuple):
    """A part, what it adds to those before, and how good that is: the more, the better.

    Only the best one has its `data`: anybody may have put hundreds of large ones there.
    """

    part: LogPart
    data: bytes
    rank: tuple[int, ...]


class _Joining:
    def __init__(self, store: ArchiveStore, folder: str, keys: Collection[str]) -> None:
        self.strangers: list[tuple[str, str]] = []
        self._store, self._folder, self._keys = store, folder, keys
        self._last_line = b""  # the newest whole one of all files
        self._begin, self._joined = 0, b""  # of the present file, since bytes were missing

    async def join(self, parts: list[LogPart], path: Path) -> None:
        """Write the file `path` of its sorted parts."""
        self._begin, self._joined = 0, b""
        most = limits.archive_log_file_bytes_max
        for part in parts:
            if part.end > most:
                self._note(part, f"a file of the checkpoints has at most {most} bytes")
        parts = [part for part in parts if part.end <= most]
        while parts:
            if parts[0].begin > self._end:
                self._begin, self._joined = parts[0].begin, b""
            found = await self._candidates(parts)
            if not found:
                continue
            best = found[0]
            for each in found:
                if each.rank[:1] < best.rank[:1]:  # it is not good
                    self._note_copy(each.part)
                    parts.remove(each.part)
            parts.remove(best.part)
            with path.open("ab") as file:
                file.write(best.data)
            self._joined += best.data
            whole = self._joined.rpartition(b"\n")[0]
            self._last_line = whole.rpartition(b"\n")[2] or self._last_line

    @property
    def _end(self) -> int:
        return self._begin + len(self._joined)

    async def _candidates(self, parts: list[LogPart]) -> list[_Candidate]:
        """Return the parts that may follow, the best first; remove from `parts` the others."""
        found: list[_Candidate] = []
        following = [part for part in parts if part.begin <= self._end]
        for part in following:
            try:
                data = await self._store.get(self._folder + CHECKPOINTS + part.object_name)
            except (ObjectRefusedError, UnreadableObjectError) as error:
                self._note(part, f"it cannot be read: {error}")
                parts.remove(part)
                continue
            known = self._joined[part.begin - self._begin :]
            added = data[len(known) :]
            if len(data) != part.end - part.begin:
                self._note(part, "it has another size than its name says")
            elif data[: len(known)] != known[: len(data)]:
                self._note_copy(part)
            elif added:
                # One alone is not judged here: the chain shows what is wrong with it.
                rank = self._rank(added) if len(following) > 1 else ()
                if not found or rank > found[0].rank:
                    found = [each._replace(data=b"") for each in found]
                    found.insert(0, _Candidate(part, added, rank))
                else:
                    found.append(_Candidate(part, b"", rank))
                continue
            parts.remove(part)
        return found

    def _rank(self, data: bytes) -> tuple[int, ...]:
        """Say whether all checkpoints in bytes that follow are good and whole, and how many."""
        *lines, rest = (self._joined.rpartition(b"\n")[2] + data).split(b"\n")
        before = self._read(self._last_line)
        good = 0
        for line in lines:
            found = self._read(line)
            if found is None or not _follows(found, before):
                return 0, 0, good
            before, good = found, good + 1
        return 1, not rest, good

    def _read(self, line: bytes) -> SignedCheckpoint | None:
        """Return the checkpoint in a line; None if the machine has not signed it."""
        with suppress(ValueError):
            found = checkpoint.read(line)
            if found.is_signed and found.checkpoint.key in self._keys:
                return found
        return None

    def _note_copy(self, part: LogPart) -> None:
        self._note(part, "others have other checkpoints at these bytes, which the machine signed")

    def _note(self, part: LogPart, why: str) -> None:
        name = CHECKPOINTS + part.object_name
        self.strangers.append((name, f"{why}; keep a copy, and delete it"))


def _follows(found: SignedCheckpoint, before: SignedCheckpoint | None) -> bool:
    if before is None:
        return True
    is_next = found.checkpoint.before == before.digest
    is_of_another_folder = found.checkpoint.is_full and not found.checkpoint.before
    is_later = found.checkpoint.number > before.checkpoint.number
    return is_later and (is_next or is_of_another_folder)
