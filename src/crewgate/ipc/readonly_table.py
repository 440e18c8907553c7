"""Opens the agent's table for a process that only reads it: attaches for a moment, then maps it."""

import os
from pathlib import Path

from crewgate._native.table import Table
from crewgate.errors import ServiceConnectionError, TableError
from crewgate.ipc.handshake import attach


def open_table(folder: Path) -> Table:
    """Return the present table of the agent whose state is in `folder`; the caller closes it.

    It stays the present table until it is `retired`. Raises ServiceConnectionError if there is
    none.
    """
    session = attach(folder)
    try:
        return Table.attach(session.table)
    except TableError as error:
        raise ServiceConnectionError(
            f"{folder}: cannot read the table of the agent: {error}"
        ) from error
    finally:
        os.close(session.table)
        session.connection.close()
