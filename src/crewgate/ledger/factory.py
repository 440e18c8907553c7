"""Opens the ledger that a configuration names, with tables that are up to date.

A file belongs to this machine, so the agent makes and migrates it. The tables of a server belong to
many machines, so a person migrates them (`crewgate ledger migrate`).
"""

from crewgate.config import LedgerConfig
from crewgate.errors import LedgerUnavailableError
from crewgate.ledger import schema
from crewgate.ledger.sql import SQLLedger
from crewgate.ledger.sql_session import SQLSession
from crewgate.ledger.sqlite_session import SQLiteSession
from crewgate.runtime.cleanup import on_error
from crewgate.runtime.install_hint import install_hint


def open_session(ledger: LedgerConfig, *, readonly: bool = False) -> SQLSession:
    """Open the database of a ledger; raises LedgerUnavailableError."""
    if ledger.file is not None:
        return SQLiteSession(ledger.file, readonly=readonly)
    # The driver is in an optional extra.
    try:
        from crewgate.ledger.postgresql_session import PostgreSQLSession  # noqa: PLC0415
    except ImportError as error:
        hint = install_hint("a ledger in PostgreSQL", "postgresql")
        raise LedgerUnavailableError(hint) from error
    return PostgreSQLSession(
        ledger.url, ledger.password_file, durability=ledger.durability, readonly=readonly
    )


def open_ledger(ledger: LedgerConfig, *, readonly: bool = False) -> SQLLedger:
    """Open a ledger for draws, or only for reading; raises LedgerUnavailableError."""
    session = open_session(ledger, readonly=readonly)
    with on_error(session.close):
        if ledger.file is not None and not readonly:
            schema.migrate(session)
            # After the checkpoint, a copy of the file alone has the identity of this ledger.
            session.checkpoint()
        schema.require_current(session)
        return SQLLedger(session)
