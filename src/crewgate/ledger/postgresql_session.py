"""The session with a ledger in PostgreSQL, which many machines share.

One connection, which is made again after it is lost. Transactions are READ COMMITTED, under an
advisory lock for each crew: before its first account, a crew has no row that could be locked.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, TypeVar

import psycopg
from psycopg.pq import TransactionStatus

from crewgate import limits
from crewgate.config import Durability
from crewgate.errors import LedgerUnavailableError
from crewgate.ledger.server_durability_check import another, is_standby, older, timeline, why_not
from crewgate.ledger.sql_session import Row
from crewgate.runtime.cleanup import on_error
from crewgate.runtime.secret_file import unreadable

R = TypeVar("R")
CHANNEL = "crewgate_ledger"
_LOCKS = 0x63726577  # "crew": the class of our advisory locks; other programs use other classes
_OPTIONS = (
    f"-c statement_timeout={round(limits.ledger_statement_seconds * 1000)} "
    f"-c idle_in_transaction_session_timeout={round(limits.ledger_statement_seconds * 1000)} "
    "-c synchronous_commit=on -c timezone=UTC"
)
# Set after connecting: libpq would take a session that begins read-only for a server that takes no
# writes, and refuse it if the URL has `target_session_attrs=read-write`.
_READONLY = (
    b"SET default_transaction_isolation = 'repeatable read'; SET default_transaction_read_only = on"
)
# Texts with which a server, or a connection pool before it, refuses a client. libpq passes on these
# texts but no SQLSTATE.
_REFUSES = (
    "authentication failed", "does not exist", "permission denied", "pg_hba.conf",
    "not permitted to log in", "valid client certificate", "no such user", "no such database",
    "unsupported startup parameter",
)  # fmt: skip


class PostgreSQLSession:
    """The database that `url` names; a `SQLSession`."""

    dialect: ClassVar[dict[str, str]] = {
        "bytes": "BYTEA",
        "serial": "BIGSERIAL",
        "random": "md5(random()::text || clock_timestamp()::text)",
        "tables": "SELECT 1 FROM pg_tables WHERE schemaname = current_schema() AND tablename = ?",
        "within": "position(? in path) > 0",
    }

    def __init__(
        self,
        url: str,
        password_file: Path | None = None,
        *,
        durability: Durability = "trusted",
        readonly: bool = False,
    ) -> None:
        """Connect at the first use; a reader sees one state of the database in a transaction."""
        self._readonly = readonly
        self._durability: Durability = "trusted" if readonly else durability
        self._url = url
        self._password_file = password_file
        self._connection: psycopg.Connection[Row] | None = None
        self._expected = ""
        self._counts: Mapping[str, int] = {}
        # The newest timeline of all servers that this session has used.
        self._newest = ""
        # Within a transaction, which cannot continue on another connection.
        self._is_within = False

    def __repr__(self) -> str:
        return f"<PostgreSQLSession {self._where}>"

    @contextmanager
    def transaction(self, *, is_durable: bool = True) -> Iterator[None]:
        """See `SQLSession`; the server syncs its WAL in order."""
        connection = self._live()
        with self._mapped(), connection.transaction():
            self._is_within = True
            try:
                if not is_durable:
                    connection.execute("SET LOCAL synchronous_commit = off")
                yield
            finally:
                self._is_within = False

    def rows(self, statement: str, values: Sequence[object] = ()) -> list[Row]:
        """See `SQLSession`."""
        connection = self._live()
        with self._mapped():
            cursor = connection.execute(_translated(statement), values)
            return cursor.fetchall() if cursor.description else []

    def write(self, statement: str, rows: Sequence[Row]) -> None:
        """See `SQLSession`; sends all rows at once."""
        if rows:
            with self._mapped(), self._live().cursor() as cursor:
                cursor.executemany(_translated(statement), rows)

    def expect(self, identity: str, counts: Mapping[str, int]) -> None:
        """See `SQLSession`; also checks the present connection.

        After a connection is lost, the server may be another one, its database may be new, or
        somebody may have put an older copy in its place.

        The server's timeline is noted from here on: earlier, the table for it may not exist.
        """
        self._expected, self._counts = identity, counts
        if self._connection is not None:
            self._require(self._connection)

    def publish(self, notifications: Sequence[str]) -> None:
        """See `SQLSession`; connections of `listening` receive them."""
        for each in notifications:
            self.rows("SELECT pg_notify(?, ?)", (CHANNEL, each))

    def lock(self, crews: Sequence[bytes]) -> None:
        """See `SQLSession`; takes the locks in the order of their numbers, to avoid deadlocks."""
        numbers = {int.from_bytes(key[:4], signed=True) for key in crews}
        for number in sorted(numbers):
            self.rows("SELECT pg_advisory_xact_lock(?, ?)", (_LOCKS, number))

    def checkpoint(self) -> None:
        """Do nothing: the server does its own checkpoints."""

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()

    def use(self, act: Callable[[psycopg.Connection[Row]], R]) -> R:
        """Call `act` with the connection, for statements that only PostgreSQL has.

        Raises LedgerUnavailableError.
        """
        with self._mapped():
            return act(self._live())

    def listening(self) -> psycopg.Connection[Row]:
        """Open another connection, which receives notifications; raises LedgerUnavailableError."""
        with self._mapped():
            connection = self._connect()
            connection.execute(f"LISTEN {CHANNEL}".encode())
            return connection

    def _password(self) -> str | None:
        """Return the password; None leaves it to the URL and to the sources that libpq knows."""
        if self._password_file is None:
            return None
        try:
            return self._password_file.read_text().rstrip("\r\n")
        except OSError as error:
            why = unreadable(self._password_file, error)
            raise LedgerUnavailableError(
                f"`password_file` of the ledger cannot be read: {why}"
            ) from None
        except UnicodeDecodeError:
            raise LedgerUnavailableError(
                f"{self._password_file}: the password of the ledger is no text"
            ) from None

    def _live(self) -> psycopg.Connection[Row]:
        """Return the connection; if it was lost outside of a transaction, make a new one."""
        connection = self._connection
        if connection is None or not (self._is_within or _is_free(connection)):
            self.close()
            connection = self._connection = self._connect()
        return connection

    @property
    def _where(self) -> str:
        """The server and database, without a password."""
        known = psycopg.conninfo.conninfo_to_dict(self._url)
        host = known.get("host") or known.get("hostaddr") or "local"
        return f"{known.get('dbname') or known.get('user')} at {host}:{known.get('port') or 5432}"

    def _connect(self) -> psycopg.Connection[Row]:
        try:
            where = self._where
        except psycopg.Error as error:
            raise LedgerUnavailableError(
                "libpq cannot read the URL of the ledger; correct [ledger] url"
            ) from error
        try:
            connection = psycopg.connect(
                self._url,
                password=self._password(),
                autocommit=True,
                connect_timeout=round(limits.ledger_connect_seconds),
                tcp_user_timeout=round(limits.ledger_statement_seconds * 1000),
                options=_OPTIONS,
                application_name="crewgate",
                # Without it, a SQL_ASCII database answers in bytes.
                client_encoding="utf8",
                # With keepalives, a connection that only listens notices that the server is gone.
                keepalives_idle=5,
                keepalives_interval=2,
                keepalives_count=3,
            )
        except psycopg.Error as error:
            message = f"{where}: {_first_line(error)}"
            raise LedgerUnavailableError(message, may_pass=_may_pass(str(error))) from error
        with on_error(connection.close):
            self._require(connection)
        return connection

    def _require(self, connection: psycopg.Connection[Row]) -> None:
        """Raise LedgerUnavailableError if this machine must not write on the connection.

        A reader's connection becomes read-only instead.
        """
        with self._mapped():
            if self._readonly:
                connection.execute(_READONLY)
            if is_standby(connection, self._durability):
                raise LedgerUnavailableError(
                    f"{self._where}: the server is a standby, which takes no writes until it is "
                    "promoted; promote it, or name the primary in [ledger] url",
                    may_pass=True,
                )
            why = why_not(connection, self._durability) or another(connection, self._expected)
            if self._durability != "trusted":
                why = why or self._replaced(connection) or older(connection, self._counts)
        if why:
            raise LedgerUnavailableError(f"{self._where}: {why}")

    def _replaced(self, connection: psycopg.Connection[Row]) -> str:
        """Return why this is an old server that a failover has replaced; "" if it is not."""
        found = timeline(connection)
        if found < self._newest:
            return (
                f"its timeline is {found}, but a newer server with {self._newest} exists: a "
                "failover has replaced this server; stop it"
            )
        self._newest = found
        return ""

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            message = f"{self._where}: {_first_line(error)}"
            raise LedgerUnavailableError(message, may_pass=_passes(error)) from error


def _is_free(connection: psycopg.Connection[Row]) -> bool:
    """Return whether a connection takes a statement.

    A closed connection takes none. The same is true if the server ended the connection within a
    pipeline, and psycopg read the server's last message before the end of the stream: then psycopg
    can neither finish the pipeline nor close the connection, and every statement would fail.
    """
    return connection.info.transaction_status is TransactionStatus.IDLE


def _may_pass(message: str) -> bool:
    """Return whether a failed connection may succeed later without a change by a person.

    True if no server answers, or if a server is not ready; False if every server refuses this
    client. Servers write in the language of their `lc_messages`: a text that is not in `_REFUSES`
    counts as "not ready", so `crewgate serve` waits, and repeats the text each time.
    """
    answers = [line for line in message.splitlines() if "FATAL" in line]  # one for each server
    return not answers or any(not any(text in line for text in _REFUSES) for line in answers)


def _passes(error: psycopg.Error) -> bool:
    """Return whether a statement failed because the server closed the session or did not answer.

    A later statement may succeed then. SQLSTATE classes: 08 connection, 53 no resources,
    57 operator intervention or a timeout.
    """
    state = error.sqlstate
    is_operational = isinstance(error, psycopg.OperationalError)
    return is_operational and (state is None or state[:2] in {"08", "53", "57"})


@lru_cache(maxsize=limits.ledger_statements_kept)
def _translated(statement: str) -> bytes:
    return statement.replace("?", "%s").encode()


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
