"""Deletes from the archive what this machine put there, after `keep_days`.

It deletes whole audit files, the one that began first before the others, and stops at the first
that must stay. So a verification can tell it from a person who takes files out. A file must stay
until its day and the time at which its last object was stored are both so long ago: a wrong clock
of this machine alone deletes nothing in a bucket. A file stays too while this machine writes it.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from crewgate import limits
from crewgate.audit import folder as audit_folder
from crewgate.audit.file_part import FilePart
from crewgate.export.archive.listing import Listing
from crewgate.export.archive.object_names import (
    CHECKPOINTS,
    day_of,
    log_part_of,
    part_of,
)
from crewgate.export.archive.store import ArchiveStore


class Retention:
    """Of one machine, whose objects are in `folder`. `is_in_use` says which files must stay."""

    def __init__(
        self,
        store: ArchiveStore,
        folder: str,
        keep_days: int,
        is_in_use: Callable[[str], bool],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._folder = folder
        self._keep = timedelta(days=keep_days)
        self._is_in_use = is_in_use
        self._now = now

    async def sweep(self, listing: Listing) -> int:
        """Delete what is too old, of some files; return how many objects. Raises ReceiverError.

        `listing` is that of the machine's folder, made just before.
        """
        # Whichever clock is behind decides.
        now = min(self._now(), datetime.fromtimestamp(listing.now, UTC))
        count = 0
        for folder in listing.folders:
            day = day_of(folder)
            if day is None:
                continue
            found = await self._store.list(self._folder + folder)
            for file, parts, stored in _files(folder, found):
                must_stay = (
                    day >= f"{now - self._keep:%Y-%m-%d}"
                    or stored >= (now - self._keep).timestamp()
                    or self._is_in_use(file)
                )
                if must_stay:
                    return count + await self._sweep_log(listing, file, now)
                if count >= limits.archive_deletes_max:
                    return count
                # All of a file, since without its beginning nobody can verify the rest.
                for part in parts:
                    await self._store.delete(self._folder + folder + part.object_name)
                    count += 1
        return count

    async def _sweep_log(self, listing: Listing, oldest: str, now: datetime) -> int:
        """Delete the checkpoints of files that are gone; `oldest` is the first that is left."""
        if CHECKPOINTS not in listing.folders:
            return 0
        start, count = audit_folder.start_of(oldest), 0
        found = await self._store.list(self._folder + CHECKPOINTS)
        parts = [(part, each) for each in found.objects if (part := log_part_of(each.name))]
        files = sorted({part.file for part, _ in parts})
        for file, following in pairwise(files):
            # The checkpoints of a file come after its beginning, and each file of them has all.
            own = [each for part, each in parts if part.file == file]
            is_old = max(each.stored for each in own) < (now - self._keep).timestamp()
            if not is_old or following.removeprefix("checkpoints-") > start:
                break
            for each in own:
                await self._store.delete(self._folder + CHECKPOINTS + each.name)
                count += 1
        return count


def _files(folder: str, listing: Listing) -> Iterator[tuple[str, list[FilePart], float]]:
    """Yield each audit file, the oldest first, its parts, and when the last one was stored."""
    found: dict[str, list[tuple[FilePart, float]]] = {}
    for each in listing.objects:
        part = part_of(folder, each.name)
        if part is not None:
            found.setdefault(part.file, []).append((part, each.stored))
    for file in sorted(found, key=lambda name: (audit_folder.start_of(name), name)):
        parts = sorted(found[file])
        yield file, [part for part, _ in parts], max(stored for _, stored in parts)
