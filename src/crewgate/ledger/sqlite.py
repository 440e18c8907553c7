"""A ledger in one file, for one machine: SQLite, on the disk before it answers.

WAL and synchronous = FULL: what was granted is still granted after a loss of power. The agent is
the one that writes; whoever else opens the file reads.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ClassVar

import apsw

from crewgate import limits
from crewgate.core.budget.ledger_mark import LedgerCounts, LedgerMark, why_not
from crewgate.errors import LedgerUnavailableError
from crewgate.ledger.session import Row, in_parts
from crewgate.runtime.durable_files import is_full

_DISK_ERRORS = (
    apsw.IOError,
    apsw.ReadOnlyError,
    apsw.CantOpenError,
    apsw.CorruptError,
    apsw.NotADBError,
    OSError,
)
_FEW_PAGES = 10  # of 4 KiB: the least cache that SQLite has


class SQLite:
    """The file at `path`, made if it is not there; a `SQLSession`."""

    dialect: ClassVar[dict[str, str]] = {
        "bytes": "BLOB",
        "serial": "INTEGER",
        "random": "lower(hex(randomblob(16)))",
        "tables": "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?",
        "within": "instr(path, ?) > 0",
    }

    def __init__(self, path: Path, *, readonly: bool = False) -> None:
        """LedgerUnavailableError. Who only reads sees one state and stops nobody."""
        self._path = path
        self._readonly = readonly
        self._is_durable = True
        self._begin = "BEGIN" if readonly else "BEGIN IMMEDIATE"
        self._identity = ""
        self._counts: Mapping[str, int] = {}
        self._has_failed = False  # its disk: another may be in the place of that by now
        self._connection = self._connect(0 if readonly else apsw.SQLITE_OPEN_CREATE)

    def __repr__(self) -> str:
        return f"<SQLite {self._path}>"

    @contextmanager
    def transaction(self, *, is_durable: bool = True) -> Iterator[None]:
        """All of it, on the disk, or nothing; the next durable one syncs those before it too."""
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
            with suppress(apsw.Error):  # of a disk that fails; then nothing was committed either
                if self._connection.in_transaction:  # else SQLite has rolled back, of a full disk
                    self._connection.execute("ROLLBACK")
            raise

    def rows(self, statement: str, values: Sequence[object] = ()) -> list[Row]:
        """What a statement finds or returns."""
        try:
            return self._connection.execute(statement, values).fetchall()
        except (apsw.Error, OSError) as error:
            raise self._unavailable(error) from error

    def among(self, statement: str, keys: Sequence[object], *values: object) -> list[Row]:
        """The same for rows `IN ({keys})`."""
        return in_parts(self.rows, statement, keys, values)

    def write(self, statement: str, rows: Sequence[Row]) -> None:
        """Do it once for each row."""
        if not rows:
            return
        try:
            self._connection.executemany(statement, rows)
        except (apsw.Error, OSError) as error:
            raise self._unavailable(error) from error

    def expect(self, identity: str, counts: Mapping[str, int]) -> None:
        """What the file must have that is opened after a disk has failed."""
        self._identity, self._counts = identity, counts

    def publish(self, notification: Sequence[str]) -> None:
        """There is no other machine."""

    def lock(self, crews: Sequence[bytes]) -> None:
        """Nobody else writes during a transaction."""

    def checkpoint(self) -> None:
        """Copy the log into the file, so that a copy of that alone lacks only the last moment.

        The log keeps its length, and is begun anew with the next commit. A reader holds up what
        was committed after it began, until the next time.
        """
        with self._mapped():
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)

    def close(self) -> None:
        """Let the file go."""
        self._connection.close()

    def _connect(self, create: int = 0) -> apsw.Connection:
        with self._mapped():
            flags = apsw.SQLITE_OPEN_READWRITE | create
            connection = apsw.Connection(str(self._path), flags=flags)
        try:
            with self._mapped():
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
        except LedgerUnavailableError:
            connection.close()
            raise
        return connection

    def _open_again(self) -> None:
        """Use the file that is there now, if it is this ledger; LedgerUnavailableError."""
        connection = self._connect()
        try:
            self._require(connection)
        except LedgerUnavailableError:
            connection.close()
            raise
        before, self._connection = self._connection, connection
        self._is_durable, self._has_failed = True, False
        # Else it would copy its log into its file, and delete the log of the new one by its name.
        before.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        with suppress(apsw.Error):
            before.close()

    def _require(self, connection: apsw.Connection) -> None:
        """LedgerUnavailableError for another ledger, or an older copy of this one."""
        if not self._identity:
            return
        book = None
        with self._mapped():
            if connection.execute(self.dialect["tables"], ("migration",)).fetchall():
                identity = "SELECT ledger FROM migration WHERE version = 1"
                ((found,),) = connection.execute(identity)
                book = LedgerCounts(
                    found, dict(connection.execute("SELECT name, beat FROM holder"))
                )
        for holder, count in [("", 0), *self._counts.items()]:
            if why := why_not(LedgerMark(self._identity, holder, count), book):
                raise LedgerUnavailableError(
                    f"{self._path}: {why}; bring the one of before back, or end the gateway and "
                    "say `crewgate ledger accept`"
                )

    def _lengthen_log(self, connection: apsw.Connection) -> None:
        """Make the log's file as long as it gets before it is begun anew.

        A commit that makes its file longer waits for the file system's journal, and that for what
        others write (ext4, beside an audit: 1.0 ms instead of 0.4). What the cache has no room for
        goes into the log at once; taken back, it leaves the file as long as it was.
        """
        log = self._path.with_name(f"{self._path.name}-wal")
        if log.exists() and log.stat().st_size >= limits.ledger_log_bytes:
            return
        run, length = connection.execute, limits.ledger_log_bytes + 2 * 4096 * _FEW_PAGES
        run(f"PRAGMA cache_size = {_FEW_PAGES}")
        run("BEGIN IMMEDIATE")
        with suppress(apsw.FullError):  # then commits are slower, while there is room for them
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
        return LedgerUnavailableError(f"{self._path}: {_why(error)}")


def _why(error: Exception) -> str:
    """What is wrong, in words that say what to do."""
    if isinstance(error, apsw.FullError):
        return "the disk is full; make room, nothing is lost"
    if is_full(error):
        return f"its disk has no room, or fails ({error}); make room or mend it, nothing is lost"
    if isinstance(error, apsw.ReadOnlyError):
        return "it, or its folder, cannot be written; give this user the right to"
    if isinstance(error, apsw.CantOpenError):
        return "cannot be opened; its folder must exist and be this user's"
    if isinstance(error, apsw.NotADBError | apsw.CorruptError):
        return "is no ledger, or damaged; restore it from a copy, or name another file"
    if isinstance(error, apsw.BusyError):
        return "another process is writing to it; a ledger in a file is one machine's"
    return str(error)
