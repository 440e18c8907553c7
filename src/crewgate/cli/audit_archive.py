"""Verifies the archive of a machine's audit: in a folder, or where [export.NAME] ships it."""

import socket
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import click
import trio

from crewgate.audit.checkpoints.findings import HeldCheckpoint
from crewgate.audit.checkpoints.verification import VerificationReport
from crewgate.config import Config
from crewgate.core.terminal_text import printable
from crewgate.export.archive import archive_reader
from crewgate.export.archive.folder_store import FolderStore
from crewgate.export.archive.object_names import machine_of
from crewgate.export.archive.store import ArchiveStore, store_of


class Archive(NamedTuple):
    """The archive of one machine.

    `place` is the text for a person. `is_named`: a person has named the machine.
    """

    store: ArchiveStore
    machine: str
    place: str
    is_named: bool = False


def in_folder(folder: Path, machine: str | None) -> Archive | None:
    """Return the archive in a folder; None if it is another folder, such as that of an audit.

    The folder is the whole archive, or that of one machine. Raises click.UsageError if there are
    several machines.
    """
    own = machine_of(f"{folder.resolve().name}/")
    if own is not None:
        if machine not in {None, own}:
            raise click.UsageError(_none_of(machine or "", [own]))
        return Archive(FolderStore(folder.resolve().parent), own, str(folder))
    store = FolderStore(folder)
    names = trio.run(archive_reader.machines, store)
    if not names:
        return None
    if machine is None and len(names) > 1:
        raise click.UsageError(f"--machine is missing; the archive has {_listed(names)}")
    return Archive(store, machine or names[0], str(folder), is_named=machine is not None)


def of_receiver(config: Config, name: str, machine: str | None) -> Archive:
    """Return the archive of [export.NAME]. Raises click.UsageError if there is none."""
    known = [each for each in config.exports if each.format == "parquet"]
    for receiver in known:
        if receiver.name == name:
            store, is_named = store_of(receiver), machine is not None
            return Archive(store, machine or own_name(config), receiver.place, is_named)
    names = ", ".join(each.name for each in known) or "none"
    raise click.UsageError(f'no [export.{name}] has format = "parquet"; known: {names}')


def own_name(config: Config) -> str:
    """Return the name under which this machine ships its audit."""
    return config.name or socket.gethostname()


def verified(
    archive: Archive, keys: Collection[str], held: Sequence[HeldCheckpoint]
) -> VerificationReport:
    """Return the report.

    Raises ReceiverError if the archive cannot be read, or click.UsageError if it does not have the
    machine that a person named.
    """

    async def run() -> VerificationReport:
        try:
            if archive.is_named:
                names = await archive_reader.machines(archive.store)
                if archive.machine not in names:
                    raise click.UsageError(_none_of(archive.machine, names))
            return await archive_reader.verify(archive.store, archive.machine, keys, held)
        finally:
            await archive.store.close()

    return trio.run(run)


def _none_of(machine: str, names: Sequence[str]) -> str:
    return f"the archive has no machine {printable(machine)}; it has {_listed(names) or 'none'}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(printable, names))
