"""The ledger's engines, empty as often as they are asked for: what holds of one holds of all."""

import itertools
import os
from collections.abc import Callable
from pathlib import Path

from postgres import server
from reporting_ledger import ReportingLedger

from crewgate.ledger import schema
from crewgate.ledger.postgresql_session import PostgreSQLSession
from crewgate.ledger.sql import SQLLedger
from crewgate.ledger.sql_session import SQLSession
from crewgate.ledger.sqlite_session import SQLiteSession

AnyLedger = ReportingLedger | SQLLedger
NewLedger = Callable[[], AnyLedger]
TABLES = ("ticket", "lease", "closed", "replaced", "holder", "account")
_numbers = itertools.count()


class Engine:
    """Makes ledgers, all in one database, which is emptied each time."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.kind = kind
        self._folder = folder
        self._session: SQLSession | None = None

    def __repr__(self) -> str:
        return f"<Engine {self.kind}>"

    def __call__(self) -> AnyLedger:
        if self.kind == "memory":
            return ReportingLedger()
        if self._session is None:
            self._session = self.session()
            schema.migrate(self._session)
        with self._session.transaction():
            for table in TABLES:
                self._session.rows(f"DELETE FROM {table}")
        return SQLLedger(self._session)

    def session(self) -> SQLSession:
        """A database of its own, without tables."""
        number = next(_numbers)
        if self.kind == "sqlite":
            return SQLiteSession(self._folder / f"ledger-{number}.db")
        return PostgreSQLSession(server().new_database(f"ledger-{os.getpid()}-{number}"))

    def close(self) -> None:
        """Let go of its database."""
        if self._session is not None:
            self._session.close()
            self._session = None
