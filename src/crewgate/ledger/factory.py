"""Opens the ledger that a configuration names, with tables that are up to date.

A file is made and migrated without a word: it is this machine's. The tables of a server are many
machines', so that is a person's deed (`crewgate ledger migrate`).
"""

from crewgate.config import LedgerConfig
from crewgate.errors import LedgerUnavailableError
from crewgate.ledger import schema
from crewgate.ledger.session import SQLSession
from crewgate.ledger.sql import SQLLedger
from crewgate.ledger.sqlite import SQLite


def open_session(ledger: LedgerConfig, *, readonly: bool = False) -> SQLSession:
    """A connection to its database; LedgerUnavailableError."""
    if ledger.file is not None:
        return SQLite(ledger.file, readonly=readonly)
    # The driver comes with an extra of its own.
    try:
        from crewgate.ledger.postgres import PostgreSQL  # noqa: PLC0415
    except ImportError as error:
        raise LedgerUnavailableError(
            "a ledger in PostgreSQL needs its driver: pip install 'crewgate[postgresql]'"
        ) from error
    return PostgreSQL(
        ledger.url, ledger.password_file, durability=ledger.durability, readonly=readonly
    )


def open_ledger(ledger: LedgerConfig, *, readonly: bool = False) -> SQLLedger:
    """Ready to be drawn from, or to be read; LedgerUnavailableError."""
    session = open_session(ledger, readonly=readonly)
    try:
        if ledger.file is not None and not readonly:
            schema.migrate(session)
            session.checkpoint()  # so that a copy of the file alone is known for this ledger
        schema.require_current(session)
        return SQLLedger(session)
    except LedgerUnavailableError:
        session.close()
        raise
