"""Finds what the archive has already: at the start of the process, and where a name exists.

The position may be older than the archive: the process was killed, an answer was lost, or the state
folder was lost or restored. An object counts only if it holds what the audit of this machine has at
these bytes. Else somebody else has put it there, and the lines that its name says would never be
shipped. The process does not replace such a *foreign* object: it ships the lines under another
name.
"""

import logging
import secrets
from collections.abc import Callable, Sequence
from typing import TypeVar

import trio

from crewgate import limits
from crewgate.audit.file_part import FilePart
from crewgate.errors import ObjectRefusedError, ReceiverError, UnreadableObjectError
from crewgate.export.archive.archive_position import ArchiveProgress
from crewgate.export.archive.listing import Listing
from crewgate.export.archive.object_names import (
    CHECKPOINTS,
    LogPart,
    day_folder,
    log_part_of,
    part_of,
    writer_name,
)
from crewgate.export.archive.parquet_writer import ParquetWriter
from crewgate.export.archive.part_planner import PartPlanner
from crewgate.export.archive.store import ArchiveStore

_log = logging.getLogger(__name__)
_VARIANT_BYTES = 8  # an attacker cannot guess the name of the next object
AnyPart = TypeVar("AnyPart", FilePart, LogPart)


class Adoption:
    """Compares the objects of one archive, which are below `folder`, with the audit.

    `name` is that of the export, for the log. `begin_step` is called before each step that may
    take so many seconds.
    """

    def __init__(
        self,
        name: str,
        store: ArchiveStore,
        folder: str,
        progress: ArchiveProgress,
        planner: PartPlanner,
        writer: ParquetWriter,
        begin_step: Callable[[float], None],
    ) -> None:
        self._name, self._store, self._folder = name, store, folder
        self._progress, self._planner, self._writer = progress, planner, writer
        self._begin_step = begin_step
        self._foreign: set[str] = set()
        self._foreign_count = 0

    async def adopt(self, listing: Listing) -> None:
        """Note what the archive has, and what is foreign; `listing` is that of the folder.

        The object with the name of this writer is there. Raises ReceiverError or OSError.
        """
        self._foreign, self._foreign_count = set(), 0
        await self.look_again()
        waiting = [name for name in self._progress.names if self._progress.left(name)]
        days = {day_folder(FilePart(name, 0, 0)) for name in waiting}
        for folder in sorted(days.intersection(listing.folders)):
            found: dict[str, list[FilePart]] = {}
            for each in (await self._store.list(self._folder + folder)).objects:
                part = part_of(folder, each.name)
                if part is not None and part.file in waiting:
                    found.setdefault(part.file, []).append(part)
            for name, parts in found.items():
                await self._adopt_file(name, parts)
        if CHECKPOINTS in listing.folders:
            await self._adopt_log()

    async def has(self, part: FilePart) -> bool:
        """Return whether the object under the name of a part is that part; else it is foreign.

        Raises ReceiverError or OSError.
        """
        place = day_folder(part) + part.object_name
        why = await self._difference(part, place)
        if why:
            self._note_foreign(place, why)
        return not why

    async def has_log(self, part: LogPart, own: bytes) -> bool:
        """Return the same about checkpoints, of which this machine has `own`."""
        place = CHECKPOINTS + part.object_name
        found = await self._get(place)
        if isinstance(found, str):
            self._note_foreign(place, found)
        elif found != own:
            self._note_foreign(place, "it has other checkpoints")
        return found == own

    def free(self, folder: str, part: AnyPart) -> AnyPart:
        """Return the part under a name that no foreign object in a folder is known to have."""
        if folder + part.object_name not in self._foreign:
            return part
        return part._replace(variant=secrets.token_hex(_VARIANT_BYTES))

    async def look_again(self) -> bool:
        """Forget the foreign objects that are gone; return whether any is. Raises ReceiverError."""
        position = self._progress.position
        left: list[str] = []
        for folder in sorted({name.partition("/")[0] + "/" for name in position.foreign}):
            found = await self._store.list(self._folder + folder)
            there = {folder + each.name for each in found.objects}
            there |= {folder + each.removesuffix("/") for each in found.folders}
            left += (name for name in position.foreign if name in there)
        is_any_gone = len(left) < len(position.foreign)
        position.foreign = left
        return is_any_gone

    async def _adopt_file(self, name: str, parts: list[FilePart]) -> None:
        known, pending = self._progress.position.files[name], self._progress.position.pending
        begin = known.offset
        # The one that was under way is ours, if any is. Else the longest leaves no lines to others.
        parts.sort(key=lambda each: (each.begin, each != pending, -each.end))
        rest = []
        for part in parts:
            if part.begin != known.offset or part.end > known.size:
                rest.append(part)
                continue
            try:
                if await self.has(part):
                    self._progress.stored(part)
            except ReceiverError:
                if part == pending:
                    return  # the process stores it again
                raise
        for part in rest:
            if part.end <= begin:
                continue
            why = "another object has some of its bytes"
            if part.end > known.size:
                why = f"{name} has {known.size} bytes only"
            elif part.begin > known.offset:
                why = "the archive lacks the bytes before it"
            self._note_foreign(day_folder(part) + part.object_name, why)

    async def _difference(self, part: FilePart, place: str) -> str:
        """Return why an object does not hold a part of the audit of this machine."""
        is_pending = part == self._progress.position.pending  # so it may well be ours
        if self._foreign_count >= limits.archive_foreign_compared_max and not is_pending:
            return f"it was not compared, because {self._foreign_count} others are foreign"
        found = await self._get(place)
        if isinstance(found, str):
            return found
        self._begin_step(limits.archive_write_seconds)
        return await self._writer.difference(part, found)

    async def _get(self, place: str) -> bytes | str:
        """Return an object, or why this one cannot be read. Raises ReceiverError."""
        self._begin_step(limits.archive_request_seconds)
        try:
            return await self._store.get(self._folder + place)
        except UnreadableObjectError as error:
            return str(error)
        except ObjectRefusedError as error:
            # Such as one that is encrypted with a key of others. This machine may read its own one.
            await self._store.get(self._folder + writer_name(self._progress.position.writer))
            return str(error)

    async def _adopt_log(self) -> None:
        position = self._progress.position
        found = await self._store.list(self._folder + CHECKPOINTS)
        parts = [part for each in found.objects if (part := log_part_of(each.name))]
        for part in sorted(parts, key=lambda each: (each.file, each.begin, -each.end)):
            if position.log.get(part.file, 0) != part.begin:
                continue
            own = await trio.to_thread.run_sync(self._planner.read_log_part, part)
            if own is None and not self._planner.has_log_file(part.file):
                continue  # this machine has deleted it
            if own is None:
                self._note_foreign(CHECKPOINTS + part.object_name, f"{part.file} has fewer bytes")
            elif await self.has_log(part, own):
                position.log_from = min(position.log_from or part.file, part.file)
                position.log[part.file] = part.end

    def _note_foreign(self, place: str, why: str) -> None:
        self._foreign.add(place)
        self._foreign_count += 1
        position = self._progress.position
        if place in position.foreign or len(position.foreign) >= limits.archive_foreign_max:
            return
        position.foreign.append(place)
        _log.warning(
            "%s: somebody else has written %s%s: %s; the lines are shipped under another name",
            self._name, self._folder, place, why,
        )  # fmt: skip


def foreign_text(places: Sequence[str]) -> str:
    """Return the number of foreign objects for a text of health, and some of their names."""
    most = limits.archive_foreign_max
    count = f"{most} or more" if len(places) >= most else f"{len(places)}"
    shown = sorted(places)[: limits.archive_foreign_shown]
    return f"{count} under names of this machine, such as {', '.join(shown)}"
