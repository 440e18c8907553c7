"""SQLite files of a machine, whose transactions are durable when they return.

Several processes may open a file at once; a connection is for one thread at a time. All methods
block. If the disk is full or read-only, a file can still be read, so that the CA can still revoke
and decommission what is in it.
"""

import os
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

import msgspec

from crewgate import limits
from crewgate.errors import CrewgateError
from crewgate.runtime.cleanup import on_error
from crewgate.runtime.durable_files import cause

T = TypeVar("T", bound=msgspec.Struct)


class BaseSQLiteStore(ABC):
    """The base of databases, one file each. Use one in a `with`.

    A subclass creates its tables, and words and raises its errors: what `_failed` returns.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, or create it, and prepare it. Raises as `_failed`."""
        self.path = path
        self._is_read_only = False
        try:
            self._connection = self._open()
        except (sqlite3.Error, OSError) as error:
            found = self._open_read_only()
            if found is None:
                raise self._failed(error) from error
            self._connection, self._is_read_only = found, True
        with on_error(self.close):
            self._prepare()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    @abstractmethod
    def _prepare(self) -> None:
        """Create missing tables. Raises an error for a file of another version."""

    def _version(self, schema: str, version: int) -> int:
        """Return the version of the file; create the tables of a new file. Raises as `_failed`."""
        ((found,),) = self._rows("PRAGMA user_version")
        if found == 0:
            with self._transaction() as database:
                ((found,),) = database.execute("PRAGMA user_version").fetchall()
                # Read again under the lock: another process may have created the tables.
                if found == 0:
                    for statement in schema.split(";"):
                        database.execute(statement)
                    database.execute(f"PRAGMA user_version = {version}")
                    found = version
        return int(found)

    @abstractmethod
    def _failed(self, error: Exception) -> CrewgateError:
        """Word an error of SQLite or the disk: name the file, and say what to do."""

    def _rows(
        self, statement: str, values: Sequence[object] | Mapping[str, object] = ()
    ) -> list[tuple[Any, ...]]:
        """Return the rows of a statement, in or outside a transaction. Raises as `_failed`."""
        with self._asking() as connection:
            return connection.execute(statement, values).fetchall()

    def _records(self, kind: type[T], table: str, where: str, values: Sequence[object]) -> list[T]:
        """Return rows as structs. `where` is a constant with marks for the values."""
        names = [field.name for field in msgspec.structs.fields(kind)]
        statement = f"SELECT {', '.join(names)} FROM {table} WHERE {where}"  # noqa: S608
        rows = self._rows(statement, values)
        return [msgspec.convert(dict(zip(names, row, strict=True)), kind) for row in rows]

    @contextmanager
    def _asking(self) -> Iterator[sqlite3.Connection]:
        """Lend the connection; an error of SQLite becomes that of `_failed`."""
        try:
            yield self._connection
        except sqlite3.Error as error:
            raise self._failed(error) from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Run a transaction: all of it is on the disk, or nothing. Raises as `_failed`."""
        if self._is_read_only:
            self._repair()
        with self._asking() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                # On a full disk SQLite may have rolled back already.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def _open(self) -> sqlite3.Connection:
        connection = self._connect(str(self.path))
        with on_error(connection.close):
            self.path.chmod(0o600)
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
            connection.execute("PRAGMA synchronous = FULL")
        return connection

    def _open_read_only(self) -> sqlite3.Connection | None:
        """Open the file read-only, for a disk that cannot take SQLite's additional files.

        Returns None if the write-ahead log has content, which this way of opening would ignore.
        """
        log = self.path.with_name(f"{self.path.name}-wal")
        try:
            if not self.path.exists() or (log.exists() and log.stat().st_size):
                return None
            connection = self._connect(f"{self.path.absolute().as_uri()}?mode=ro&immutable=1")
        except (sqlite3.Error, OSError):
            return None
        try:
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        except sqlite3.Error:
            connection.close()
            return None
        return connection

    def _connect(self, where: str) -> sqlite3.Connection:
        return sqlite3.connect(
            where,
            timeout=limits.register_wait_seconds,
            isolation_level=None,
            check_same_thread=False,
            uri=where.startswith("file:"),
        )

    def _repair(self) -> None:
        """Replace the read-only connection. Raises as `_failed`."""
        try:
            connection = self._open()
        except (sqlite3.Error, OSError) as error:
            raise self._failed(error) from error
        self._connection.close()
        self._connection, self._is_read_only = connection, False


def remedy_of(error: Exception, process: str) -> str:
    """Return the message of SQLite or of the disk, with what to do; `process` uses the file."""
    if isinstance(error, OSError):
        return cause(error)
    # The low byte of an extended code is the primary code.
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return f"{error}; make room there (`df` and `df -i` show what is left)"
    if code in {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}:
        return (
            f"{error}; check that its disk is mounted, writable and not full, and that user "
            f"{os.geteuid()} owns its folder"
        )
    if code == sqlite3.SQLITE_ERROR:  # a table or a column is missing
        return f"{error}; another version of Crewgate may have written it"
    return f"{error}; it must belong to the user that runs the {process} process"
