"""Opens the agent's table in the state folder, or creates a new one.

The agent continues with a table of this boot, version, geometry and ledger. Otherwise it creates an
empty one and logs why.
"""

import errno
import fcntl
import logging
import math
import os
import secrets
import time
from contextlib import suppress
from itertools import islice
from pathlib import Path

import msgspec

from crewgate import limits
from crewgate._native.proof_windows import distrust_before
from crewgate._native.records import TableCapacities
from crewgate._native.table import StaleTableError
from crewgate._native.table_owner import OwnedTable
from crewgate.config import Config
from crewgate.errors import TableError
from crewgate.runtime.cleanup import lent
from crewgate.runtime.durable_files import cause, describe, make_folder, remove_drafts, write_file

_log = logging.getLogger(__name__)


def state_folder(path: Path) -> None:
    """Create the folder. Its group may reach the group's socket, but not list the folder.

    Raises TableError.
    """
    try:
        make_folder(path, 0o710, parents=True)
    except OSError as error:
        why = f"{error.strerror}: create it" if error.errno == errno.ENOENT else cause(error)
        raise TableError(f"state folder {path}: {why}, or set `state` to another folder") from error
    remove_drafts(path)


def geometry_of(config: Config) -> TableCapacities:
    """Return the capacities that the configuration asks for."""
    capacities = msgspec.structs.asdict(config.table)
    return TableCapacities(**capacities, attachments=limits.table_attachments_max)


def open_table(config: Config, drawn_as: str) -> tuple[OwnedTable, bool]:
    """Return the table, locked by this agent, and whether it is new. Raises TableError.

    `drawn_as` is the identity of the ledger, and the name of this machine there. This ledger does
    not know leases of another ledger or under another name, so a table with those is not reused.
    """
    state_folder(config.state)
    path, geometry = config.state / "table", geometry_of(config)
    await_lock(path, limits.lock_wait_seconds)
    found = _usable(path, geometry)
    if isinstance(found, OwnedTable) and drawn_from(path) != drawn_as:
        found.retire()
        found.close()
        found = "the leases of the old table do not fit this ledger"
    if isinstance(found, OwnedTable):
        return found, False
    why = f", because {found}; the ledger burns the leases of the old table"
    _log.info("%s: a new table%s", path, why if _ledger_of(path).exists() else "")
    last = _last_change(config.state, config.audit.folder)
    table = OwnedTable.create(str(path), geometry)
    # If the clock of this boot is behind, its present was the past of an earlier table.
    distrust_before(table, last)
    bind(path, drawn_as)
    return table, True


def _last_change(*folders: Path) -> int:
    """Return when a file in these folders was changed last, in seconds since the epoch.

    A gateway writes there all the time. So this is about the newest time that its clock has shown.
    """
    newest = 0.0
    for folder in folders:
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in islice(entries, limits.state_files_looked_at_max):
                with suppress(FileNotFoundError):
                    newest = max(newest, entry.stat(follow_symlinks=False).st_mtime)
    return math.ceil(newest)


def bind(table: Path, drawn_as: str) -> None:
    """Save from where the leases of a table are (`LedgerMark.drawn_as`). Raises TableError."""
    _write(_ledger_of(table), drawn_as)


def holder_name(config: Config) -> str:
    """Return the name of this machine in the ledger: `name` of the configuration.

    Without a configured name, make one from the host name and random digits, and keep it in the
    state folder. Raises TableError.
    """
    name = known_holder(config)
    if not name:
        name = f"{os.uname().nodename[: limits.holder_chars_max]}-{secrets.token_hex(4)}"
        _write(config.state / "holder", name)
    return name


def known_holder(config: Config) -> str:
    """Return the name of this machine in the ledger; empty if it has none yet."""
    return config.name or _read(config.state / "holder")


def _write(path: Path, line: str) -> None:
    """Write a file of one line to the disk: after a power loss, leases still have their holder.

    Raises TableError if the disk does not take it.
    """
    try:
        write_file(path, f"{line}\n".encode(), 0o600)
    except OSError as error:
        raise TableError(describe(error, path)) from error


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        return ""


def _ledger_of(table: Path) -> Path:
    return table.with_name("table.ledger")


def drawn_from(table: Path) -> str:
    """Return from where the leases of a table are (`LedgerMark.drawn_as`); empty if unknown."""
    return _read(_ledger_of(table))


def await_lock(path: Path, seconds: float) -> None:
    """Wait until an ending agent has released the lock, or return after `seconds`.

    If the agent still lives, opening the table fails. A killed `serve` ends its agent, but the
    kernel needs a moment to release the lock.
    """
    deadline = time.monotonic() + seconds
    try:
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return
    with lent(lock):
        while time.monotonic() < deadline:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                time.sleep(limits.lock_look_seconds)
            else:
                return


def _usable(path: Path, geometry: TableCapacities) -> OwnedTable | str:
    """Return the table in the file, or why the agent cannot continue with it."""
    try:
        table = OwnedTable.open(str(path))
    except FileNotFoundError:
        return "the file of the old table is gone"
    except StaleTableError as error:
        return str(error).removeprefix(f"{path}: ")
    if table.geometry == geometry and not table.retired:
        return table
    why = "the old table was retired" if table.retired else "[table] has changed"
    # A process that still maps the old table must not continue with it.
    table.retire()
    table.close()
    return why
