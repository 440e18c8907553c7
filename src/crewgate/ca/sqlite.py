"""SQLite as the CA keeps its books: on the disk before it answers, or an AuthorityError.

One connection, for one thread at a time, open to several processes at once. Blocks. On a disk that
is full or read-only the books can still be read, so that what stands in them can be ended.
"""

import os
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from crewgate import limits
from crewgate.errors import AuthorityError
from crewgate.runtime.durable_files import cause


class SQLiteFile:
    """The file at `path`, made if it is not there; `failed` words what SQLite or the disk says."""

    def __init__(self, path: Path, failed: Callable[[Exception], AuthorityError]) -> None:
        self.path = path
        self._failed = failed
        self._is_for_reading = False
        try:
            self._connection = self._open()
        except (sqlite3.Error, OSError) as error:
            found = self._open_for_reading()
            if found is None:
                raise failed(error) from error
            self._connection, self._is_for_reading = found, True

    def __repr__(self) -> str:
        return f"<Database {self.path}>"

    def close(self) -> None:
        """Let the file go."""
        self._connection.close()

    def rows(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """What one statement finds or returns, within a transaction or by itself."""
        with self.asking() as connection:
            return connection.execute(statement, values).fetchall()

    @contextmanager
    def asking(self) -> Iterator[sqlite3.Connection]:
        """The connection, to read or to do one thing; AuthorityError."""
        try:
            yield self._connection
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _open(self) -> sqlite3.Connection:
        connection = self._connect(str(self.path))
        try:
            self.path.chmod(0o600)
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
            connection.execute("PRAGMA synchronous = FULL")
        except BaseException:
            connection.close()
            raise
        return connection

    def _open_for_reading(self) -> sqlite3.Connection | None:
        """The file as it is, where the disk has no room for the files that SQLite needs beside it.

        Not if its log has content, which may be more than the file says.
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
        """Open for writing what was for reading alone; AuthorityError while that cannot be."""
        try:
            connection = self._open()
        except (sqlite3.Error, OSError) as error:
            raise self._failed(error) from error
        self._connection.close()
        self._connection, self._is_for_reading = connection, False

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of it, on the disk, or nothing; AuthorityError."""
        if self._is_for_reading:
            self._repair()
        with self.asking() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # SQLite may have rolled back, of a full disk
                    connection.execute("ROLLBACK")
                raise


def remedy_of(error: Exception) -> str:
    """What SQLite or the disk says, and what to do about it."""
    if isinstance(error, OSError):
        return cause(error)
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the primary code of an extended one
    if code == sqlite3.SQLITE_FULL:
        return f"{error}; make room there (`df` and `df -i` show what is left)"
    if code in {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}:
        return (
            f"{error}; see that its disk is mounted, writable and not full, and that its folder "
            f"belongs to user {os.geteuid()}"
        )
    return f"{error}; it belongs to the user who runs the control process"


class CAStore(ABC):
    """One of the CA's books in the file at `path`; a kind says what stands in it. For a `with`."""

    def __init__(self, path: Path) -> None:
        """Open it and make it ready; AuthorityError, and then the file is let go."""
        self.path = path
        self._database = SQLiteFile(path, self._failed)
        try:
            self._prepare()
        except AuthorityError:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.path}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    @abstractmethod
    def _prepare(self) -> None:
        """Make what is not there yet; AuthorityError for what cannot be read."""

    @abstractmethod
    def _failed(self, error: Exception) -> AuthorityError:
        """In words: which file, and whose it must be."""
