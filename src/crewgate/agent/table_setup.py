"""Gets the agent its table: the one that stands in the state folder, or a new one, and says which.

Only a new table starts afresh; a table of this boot, version and geometry goes on.
"""

import fcntl
import logging
import os
import secrets
import time
from pathlib import Path

from crewgate import limits
from crewgate._native.records import Geometry
from crewgate._native.table import StaleTableError
from crewgate._native.table_owner import OwnedTable
from crewgate.config import Config
from crewgate.errors import TableError
from crewgate.runtime.durable_files import (
    cause,
    describe,
    make_folder,
    remove_drafts,
    write_file,
)

_log = logging.getLogger(__name__)


def state_folder(path: Path) -> None:
    """Make the folder; its group may pass through to the group's door, not look around.

    TableError where that cannot be.
    """
    try:
        make_folder(path, 0o710, parents=True)
    except OSError as error:
        raise TableError(
            f"state folder {path}: {cause(error)}; or name another as `state`"
        ) from error
    remove_drafts(path)


def geometry_of(config: Config) -> Geometry:
    """The capacities that the configuration asks for."""
    table = config.table
    return Geometry(
        branches=table.branches,
        revocations=table.revocations,
        reservations=table.reservations,
        attachments=limits.table_attachments_max,
    )


def open_table(config: Config, drawn_as: str) -> tuple[OwnedTable, bool]:
    """The table, locked as the one agent, and whether it is new. TableError.

    `drawn_as` is the identity of the ledger that its leases are to be drawn from, and the machine's
    name there: what was leased from another one, or under another name, is not known.
    """
    state_folder(config.state)
    path, geometry = config.state / "table", geometry_of(config)
    await_lock(path, limits.lock_wait_seconds)
    why = _usable(path, geometry)
    if isinstance(why, OwnedTable) and drawn_from(path) != drawn_as:
        why.retire()
        why.close()
        why = "its leases are of another ledger"
    if isinstance(why, OwnedTable):
        return why, False
    gone = f"; {why}, and what the old one had leased is burned"
    _log.info("%s: a new table%s", path, gone if _ledger_of(path).exists() else "")
    table = OwnedTable.create(str(path), geometry)
    bind(path, drawn_as)
    return table, True


def bind(table: Path, drawn_as: str) -> None:
    """Write down what the leases of a table are of (`LedgerMark.drawn_as`); TableError."""
    _write(_ledger_of(table), drawn_as)


def holder_name(config: Config) -> str:
    """What this machine is called in the ledger: its name, as the configuration says it.

    Without one it makes one of its node's name and what no other node has, and keeps it in the
    state folder, as the table is; TableError where that cannot be.
    """
    name = known_holder(config)
    if not name:
        name = f"{os.uname().nodename[: limits.holder_chars_max]}-{secrets.token_hex(4)}"
        _write(_holder_of(config), name)
    return name


def known_holder(config: Config) -> str:
    """The same; empty where it has none yet."""
    if config.name:
        return config.name
    try:
        return _holder_of(config).read_text().strip()
    except FileNotFoundError:
        return ""


def _holder_of(config: Config) -> Path:
    return config.state / "holder"


def _write(path: Path, line: str) -> None:
    """TableError if the disk does not take it: else leases had no holder after a power loss."""
    try:
        write_file(path, f"{line}\n".encode(), 0o600)
    except OSError as error:
        raise TableError(describe(error, path)) from error


def _ledger_of(table: Path) -> Path:
    return table.with_name("table.ledger")


def drawn_from(table: Path) -> str:
    """What the leases of a table are of (`LedgerMark.drawn_as`); empty if that is not known."""
    try:
        return _ledger_of(table).read_text().strip()
    except FileNotFoundError:
        return ""


def await_lock(path: Path, seconds: float) -> None:
    """Wait for an agent that is being taken down; whoever opens the table hears if it is alive.

    A killed `serve` takes its agent with it, but the kernel needs a moment to let go of the lock.
    """
    deadline = time.monotonic() + seconds
    try:
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return
    try:
        while time.monotonic() < deadline:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                time.sleep(limits.lock_look_seconds)
            else:
                return
    finally:
        os.close(lock)


def _usable(path: Path, geometry: Geometry) -> OwnedTable | str:
    """The table in the file, or why it cannot be gone on with."""
    try:
        table = OwnedTable.open(str(path))
    except FileNotFoundError:
        return "there was none"
    except StaleTableError as error:
        return str(error).removeprefix(f"{path}: ")
    if table.geometry == geometry and not table.retired:
        return table
    why = "it was retired" if table.retired else "[table] has changed"
    table.retire()  # whoever still maps it must not go on with it
    table.close()
    return why
