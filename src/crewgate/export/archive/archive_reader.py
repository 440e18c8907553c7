"""Reads an archive for a verification: its checkpoints, and its audit files byte for byte.

One audit file and one object are on the disk at a time, in a temporary folder.
"""

import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import trio

from crewgate import limits
from crewgate.audit import parquet
from crewgate.audit.checkpoints.archive_verification import verify_archive
from crewgate.audit.checkpoints.findings import HeldCheckpoint
from crewgate.audit.checkpoints.verification import VerificationReport
from crewgate.audit.file_part import FilePart
from crewgate.errors import AuditReadError, ObjectMissingError, ReceiverError
from crewgate.export.archive.object_names import (
    day_folder,
    is_like,
    machine_folder,
    machine_of,
    part_of,
)
from crewgate.export.archive.store import ArchiveStore
from crewgate.export.archive.stored_log import fetch_log

_OBJECT = ".parquet"


async def machines(store: ArchiveStore) -> list[str]:
    """Return the machines that an archive has. Raises ReceiverError."""
    found = await store.list("")
    return [name for folder in found.folders if (name := machine_of(folder)) is not None]


async def verify(
    store: ArchiveStore, machine: str, keys: Collection[str], held: Sequence[HeldCheckpoint] = ()
) -> VerificationReport:
    """Verify the archive of a machine; see `verify_archive`. Raises ReceiverError or OSError."""
    folder = machine_folder(machine)
    with tempfile.TemporaryDirectory() as temporary:
        log = Path(temporary) / "log"
        log.mkdir()
        # Before the files are listed: what the checkpoints say of a file is there already.
        strangers = await fetch_log(store, folder, log, keys)
        source = StoredFiles(store, folder, Path(temporary))
        source.strangers += strangers
        root = await store.list("")
        for name in [*root.folders, *(each.name for each in root.objects)]:
            if is_like(name, machine):
                source.strangers.append((name, f"a query takes it for the folder of {machine}"))
        await source.list_all()
        return await trio.to_thread.run_sync(verify_archive, log, keys, source, held)


class StoredFiles:
    """See `ArchiveSource`. A thread of trio calls the other methods; `list_all` comes first."""

    def __init__(self, store: ArchiveStore, folder: str, temporary: Path) -> None:
        self.parts: dict[str, list[FilePart]] = {}
        self.strangers: list[tuple[str, str]] = []
        self._store, self._folder = store, folder
        self._object = temporary / "object"
        self._file, self._name = temporary / "file", ""

    async def list_all(self) -> None:
        """List all objects, also those that the export did not write. Raises ReceiverError."""
        folders, count = [""], 0
        while folders:
            folder = folders.pop()
            found = await self._store.list(self._folder + folder)
            folders += [folder + each for each in found.folders]
            count += len(found.folders) + len(found.objects)
            if count > limits.archive_listed_max:
                raise ReceiverError(f"{self._folder} has too many objects")
            for each in found.objects:
                part = part_of(folder, each.name)
                if part is not None:
                    self.parts.setdefault(part.file, []).append(part)
                elif each.name.endswith(_OBJECT):
                    self.strangers.append((folder + each.name, "the export writes no such name"))
                elif not each.is_file:
                    self.strangers.append((folder + each.name, "it is a link or a pipe"))
        for parts in self.parts.values():
            parts.sort()

    def size(self, name: str) -> int:
        """See `AuditSource`."""
        return self.parts[name][-1].end

    def open(self, name: str) -> BinaryIO:
        """See `AuditSource`. Raises AuditReadError too."""
        if name != self._name:
            self._name = ""
            with self._file.open("wb") as file:
                for part in self.parts[name]:
                    file.writelines(self.read(part))
            self._name = name
        return self._file.open("rb")

    def read(self, part: FilePart) -> Iterator[bytes]:
        """See `ArchiveSource`."""
        place = day_folder(part) + part.object_name
        try:
            data = trio.from_thread.run(self._store.get, self._folder + place)
        except ObjectMissingError:
            raise FileNotFoundError(place) from None
        except ReceiverError as error:
            raise AuditReadError(f"{place}: {error.text_and_mend}") from error
        self._object.write_bytes(data)
        try:
            yield from parquet.lines(self._object, part, with_members=True)
        except AuditReadError as error:
            raise AuditReadError(f"{place}: {error}") from error
