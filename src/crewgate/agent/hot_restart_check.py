"""Checks, while the previous agent still serves, whether a successor can continue with its table.

The checks only read. If one fails, no call is lost, because the previous agent continues.
"""

import os
from collections.abc import Iterator
from contextlib import closing

import msgspec

from crewgate._native.table import StaleTableError, Table
from crewgate.agent.table_setup import drawn_from, geometry_of, known_holder
from crewgate.config import Config
from crewgate.config.restart_only import WAY_OUT
from crewgate.core.budget.ledger_mark import LedgerMark
from crewgate.errors import ConfigurationError
from crewgate.ledger.mark_file import find_ledger, read_mark, require


def require_goes_on(config: Config) -> None:
    """Require that the existing table, and the ledger of its leases, fit the configuration.

    Raises ConfigurationError, TableError, LedgerReplacedError, LedgerUnavailableError or OSError.
    """
    # Read the mark before the ledger: the ledger's counts only increase.
    known = read_mark(config.state)
    require(config.ledger, known, find_ledger(config.ledger))
    why = next(_differences(config, known), None)
    if why is not None:
        raise ConfigurationError(f"{config.path}: {why}; {WAY_OUT}")


def _differences(config: Config, known: LedgerMark | None) -> Iterator[str]:
    path = config.state / "table"
    try:
        # Map the table without its lock, which the agent that serves holds.
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        yield f"state: the agent that serves has no table in {config.state}"
        return
    try:
        table = Table.attach(descriptor)
    except StaleTableError as error:
        yield f"this version cannot continue with the present table ({error})"
        return
    finally:
        os.close(descriptor)
    with closing(table):
        if table.geometry != geometry_of(config):
            yield "[table] cannot change while serving"
    if known is None:
        return
    drawn_as = msgspec.structs.replace(known, holder=known_holder(config)).drawn_as
    if drawn_from(path) != drawn_as:
        has_new_name = known.drawn_as != drawn_as
        yield f"{'name' if has_new_name else '[ledger]'} cannot change while serving"
