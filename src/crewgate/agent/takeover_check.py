"""What a successor looks at while the agent before it serves: whether it can go on with all that.

Reads only. What it finds wrong here costs nothing, since the agent before it goes on.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from crewgate._native.table import StaleTableError, Table
from crewgate.agent.table_setup import drawn_from, geometry_of, known_holder
from crewgate.config import Config
from crewgate.config.restart_only import WAY_OUT
from crewgate.core.budget.ledger_mark import LedgerMark
from crewgate.errors import ConfigurationError
from crewgate.ledger.mark_file import find_ledger, read_mark, require


def require_goes_on(config: Config) -> None:
    """Require the table that stands, and the ledger that its leases are of.

    ConfigurationError, TableError, LedgerReplacedError, LedgerUnavailableError, OSError.
    """
    known = read_mark(config.state)
    require(
        config.ledger, known, find_ledger(config.ledger)
    )  # in this order: a ledger only gets further
    why = next(_differences(config, known), None)
    if why is not None:
        raise ConfigurationError(f"{config.path}: {why}; {WAY_OUT}")


def _differences(config: Config, known: LedgerMark | None) -> Iterator[str]:
    path = config.state / "table"
    try:
        table = _look_at(path)
    except FileNotFoundError:
        yield f"state: the agent that serves has no table in {config.state}"
        return
    except StaleTableError as error:
        yield f"this version cannot go on with the table that serves ({error})"
        return
    try:
        if table.geometry != geometry_of(config):
            yield "[table] cannot change while serving"
    finally:
        table.close()
    if known is None:
        return
    drawn_as = msgspec.structs.replace(known, holder=known_holder(config)).drawn_as
    if drawn_from(path) != drawn_as:
        is_named = known.drawn_as != drawn_as
        yield f"{'name' if is_named else '[ledger]'} cannot change while serving"


def _look_at(path: Path) -> Table:
    """Its mapping, without the lock, which the agent that serves has."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        return Table.attach(descriptor)
    finally:
        os.close(descriptor)
