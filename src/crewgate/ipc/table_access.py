"""The agent's table in the hands of whoever only looks: attached for a moment, then mapped."""

import os
from pathlib import Path

from crewgate._native.table import Table
from crewgate.errors import LinkError, TableError
from crewgate.ipc.handshake import attach


def open_table(folder: Path) -> Table:
    """The table in force of the agent whose state is in `folder`; `close` it.

    LinkError if there is none. It stays the same table until it is `retired`.
    """
    session = attach(folder)
    try:
        return Table.attach(session.table)
    except TableError as error:
        raise LinkError(f"{folder}: the table cannot be read: {error}") from error
    finally:
        os.close(session.table)
        session.connection.close()
