"""SQLite as the CA keeps its books: on the disk before it answers, or an AuthorityError.

One connection, for one thread at a time, open to several processes at once. Blocks.
"""

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from crewgate import limits
from crewgate.errors import AuthorityError


class Database:
    """The file at `path`, made if it is not there; `failed` words what SQLite or the disk says."""

    def __init__(self, path: Path, failed: Callable[[Exception], AuthorityError]) -> None:
        self.path = path
        self._failed = failed
        try:
            self._connection = sqlite3.connect(
                path,
                timeout=limits.register_wait_seconds,
                isolation_level=None,
                check_same_thread=False,
            )
        except sqlite3.Error as error:
            raise failed(error) from error
        try:
            path.chmod(0o600)
            self.rows("PRAGMA journal_mode = WAL")
            self.rows("PRAGMA synchronous = FULL")
        except OSError as error:
            self.close()
            raise failed(error) from error
        except AuthorityError:
            self.close()
            raise

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

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of it, on the disk, or nothing; AuthorityError."""
        with self.asking() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # SQLite may have rolled back, of a full disk
                    connection.execute("ROLLBACK")
                raise


class Book(ABC):
    """One of the CA's books in the file at `path`; a kind says what stands in it. For a `with`."""

    def __init__(self, path: Path) -> None:
        """Open it and make it ready; AuthorityError, and then the file is let go."""
        self.path = path
        self._database = Database(path, self._failed)
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
