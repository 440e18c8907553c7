"""The session with a ledger in one SQLite file, for one machine.

With WAL and `synchronous = FULL`, a commit is on the disk before the ledger answers, so a power
loss undoes no grant. Only the agent writes; other processes that open the file read.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import apsw

from crewgate import limits
from crewgate.core.budget.ledger_mark import HolderOperationCounts, LedgerMark, why_not
from crewgate.errors import LedgerUnavailableError
from crewgate.ledger.sql_session import Row
from crewgate.runtime.cleanup import on_error
from crewgate.runtime.durable_files import is_full

_DISK_ERRORS = (
    apsw.IOError,
    apsw.ReadOnlyError,
    apsw.CantOpenError,
    apsw.CorruptError,
    apsw.NotADBError,
    OSError,
)
_FEW_PAGES = 10  # of 4 KiB: the smallest cache that SQLite has


class SQLiteSession:
    """The file at `path`, which is made if it does not exist; a `SQLSession`."""

    dialect: ClassVar[dict[str, str]] = {
        "bytes": "BLOB",
        "serial": "INTEGER",
        "random": "lower(hex(randomblob(16)))",
        "tables": "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?",
        "within": "instr(path, ?) > 0",
    }

    def __init__(self, path: Path, *, readonly: bool = False) -> None:
        """Open the file; raises LedgerUnavailableError.

        A transaction of a reader sees one state of the file, and stops nobody.
        """
        self._path = path
        self._readonly = readonly
        self._is_durable = True
        self._begin = "BEGIN" if readonly else "BEGIN IMMEDIATE"
        self._identity = ""
        self._counts: Mapping[str, int] = {}
        # Whether the disk has failed: another disk may be in its place by now.
        self._has_failed = False
        self._connection = self._connect(0 if readonly else apsw.SQLITE_OPEN_CREATE)

    def __repr__(self) -> str:
        return f"<SQLiteSession {self._path}>"

    @contextmanager
    def transaction(self, *, is_durable: bool = True) -> Iterator[None]:
        """See `SQLSession`; the next durable transaction syncs the earlier ones too."""
        if self._has_failed:
            self._open_again()
        if is_durable != self._is_durable:
            self.rows(f"PRAGMA synchronous = {'FULL' if is_durable else 'NORMAL'}")
            self._is_durable = is_durable
        self.rows(self._begin)
        try:
            yield
            self.rows("COMMIT")
        except BaseException:
            # A failing disk may refuse the rollback: nothing was committed then either. After an
            # error such as a full disk, SQLite has already rolled back.
            with suppress(apsw.Error):
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
            raise

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[Row]:
        """See `SQLSession`."""
        try:
            return self._connection.execute(statement, values).fetchall()
        except (apsw.Error, OSError) as error:
            raise self._unavailable(error) from error

    def write(self, statement: str, rows: Sequence[Row]) -> None:
        """See `SQLSession`."""
        if not rows:
            return
        try:
            self._connection.executemany(statement, rows)
        except (apsw.Error, OSError) as error:
            raise self._unavailable(error) from error

    def expect(self, identity: str, counts: Mapping[str, int]) -> None:
        """See `SQLSession`; the file is checked when it is opened again after a failed disk."""
        self._identity, self._counts = identity, counts

    def publish(self, notifications: Sequence[str]) -> None:
        """Do nothing: a file has no other machines."""

    def lock(self, crews: Sequence[bytes]) -> None:
        """Do nothing: a transaction already locks the whole file."""

    def checkpoint(self) -> None:
        """Copy the log into the file, so that a copy of the file alone lacks only the last moment.

        The log keeps its length; the next commit begins it again. While a reader is active, commits
        that are newer than its transaction wait for the next checkpoint.
        """
        with self._mapped():
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _connect(self, create: int = 0) -> apsw.Connection:
        with self._mapped():
            flags = apsw.SQLITE_OPEN_READWRITE | create
            connection = apsw.Connection(str(self._path), flags=flags)
        with on_error(connection.close), self._mapped():
            connection.set_busy_timeout(round(limits.ledger_busy_seconds * 1000))
            if self._readonly:
                connection.execute("PRAGMA query_only = ON")
                return connection
            self._path.chmod(0o600)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute(f"PRAGMA journal_size_limit = {2 * limits.ledger_log_bytes}")
            self._lengthen_log(connection)
        return connection

    def _open_again(self) -> None:
        """Use the file that is there now, if it is this ledger; else LedgerUnavailableError."""
        connection = self._connect()
        with on_error(connection.close):
            self._require(connection)
        previous, self._connection = self._connection, connection
        self._is_durable, self._has_failed = True, False
        # Without this, the old connection would copy its log into its file as it closes, and then
        # delete the log of the new file, which has the same name.
        previous.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        with suppress(apsw.Error):
            previous.close()

    def _require(self, connection: apsw.Connection) -> None:
        """Raise LedgerUnavailableError for another ledger, or for an older copy of this one."""
        if not self._identity:
            return
        found = None
        with self._mapped():
            if connection.execute(self.dialect["tables"], ("migration",)).fetchall():
                identity = "SELECT ledger FROM migration WHERE version = 1"
                ((ledger,),) = connection.execute(identity)
                found = HolderOperationCounts(
                    ledger, dict(connection.execute("SELECT name, beat FROM holder"))
                )
        for holder, count in [("", 0), *self._counts.items()]:
            if why := why_not(LedgerMark(self._identity, holder, count), found):
                raise LedgerUnavailableError(
                    f"{self._path}: {why}; bring the previous ledger back, or stop the gateway and "
                    "run `crewgate ledger accept`"
                )

    def _lengthen_log(self, connection: apsw.Connection) -> None:
        """Make the log's file as long as it gets before SQLite begins it again.

        A commit that makes the file longer waits for the file system's journal, which waits for
        what others write (ext4, beside an audit: 1.0 ms instead of 0.4). The trick: a transaction
        writes more than the cache holds, which goes into the log at once, and rolls back. The file
        keeps its length.
        """
        log = self._path.with_name(f"{self._path.name}-wal")
        if log.exists() and log.stat().st_size >= limits.ledger_log_bytes:
            return
        run, length = connection.execute, limits.ledger_log_bytes + 2 * 4096 * _FEW_PAGES
        run(f"PRAGMA cache_size = {_FEW_PAGES}")
        run("BEGIN IMMEDIATE")
        # On a full disk the log stays short: commits are slower then, as long as they find room.
        with suppress(apsw.FullError):
            run("CREATE TABLE filler (bytes)")
            run("INSERT INTO filler VALUES (zeroblob(?))", (length,))
        if connection.in_transaction:
            run("ROLLBACK")
        run("PRAGMA cache_size = -2000")

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except (apsw.Error, OSError) as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: Exception) -> LedgerUnavailableError:
        self._has_failed |= isinstance(error, _DISK_ERRORS)
        why = _why(error)
        # A reader does not make the file.
        if self._readonly and isinstance(error, apsw.CantOpenError) and _is_missing(self._path):
            why = "the file is missing; bring it back, or run `crewgate serve` and do what it says"
        return LedgerUnavailableError(f"{self._path}: {why}")


def _is_missing(path: Path) -> bool:
    """Return whether a file is missing in a folder that this user can search."""
    return os.access(path.parent, os.X_OK) and not path.exists()


def _why(error: Exception) -> str:
    """Return what is wrong with the file, and what to do about it."""
    if isinstance(error, apsw.FullError):
        return "the disk is full; make room, nothing is lost"
    if is_full(error):
        return f"its disk has no room, or fails ({error}); make room or mend it, nothing is lost"
    if isinstance(error, apsw.ReadOnlyError):
        return "this user cannot write the file or its folder; grant the right to write"
    if isinstance(error, apsw.CantOpenError):
        return "the file cannot be opened; its folder must exist and belong to this user"
    if isinstance(error, apsw.NotADBError | apsw.CorruptError):
        return "the file is no ledger, or is damaged; restore it from a copy, or name another file"
    if isinstance(error, apsw.BusyError):
        return "another process is writing to the file; a ledger in a file serves one machine only"
    return str(error)
