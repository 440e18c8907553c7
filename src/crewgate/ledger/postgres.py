"""A ledger in PostgreSQL, for many machines: what one of them was granted, all others see.

One connection, made again when it is lost. Transactions are READ COMMITTED under a lock for each
crew (an advisory one, because a crew's first account has no row yet to be locked).
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
from crewgate.ledger.durability import another, is_standby, older, timeline, why_not
from crewgate.ledger.session import Row, in_parts

R = TypeVar("R")
CHANNEL = "crewgate_ledger"
_LOCKS = 0x63726577  # "crew": the class of our advisory locks, beside those of other programs
_OPTIONS = (
    f"-c statement_timeout={round(limits.ledger_statement_seconds * 1000)} "
    f"-c idle_in_transaction_session_timeout={round(limits.ledger_statement_seconds * 1000)} "
    "-c synchronous_commit=on -c timezone=UTC"
)
# Said once connected: libpq would take a session that begins so for a server that takes no writes,
# and refuse it where the URL says `target_session_attrs=read-write`.
_READONLY = (
    b"SET default_transaction_isolation = 'repeatable read'; SET default_transaction_read_only = on"
)
# What a server, or a pool before it, says to a client that it does not know or want. libpq hands on
# its words, and no SQLSTATE.
_REFUSES = (
    "authentication failed", "does not exist", "permission denied", "pg_hba.conf",
    "not permitted to log in", "valid client certificate", "no such user", "no such database",
    "unsupported startup parameter",
)  # fmt: skip


class PostgreSQL:
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
        """Connects when it is used. Who only reads sees one state in a transaction."""
        self._readonly = readonly
        self._durability: Durability = "trusted" if readonly else durability
        self._url = url
        self._password_file = password_file
        self._connection: psycopg.Connection[Row] | None = None
        self._expected = ""
        self._counts: Mapping[str, int] = {}
        self._newest = ""  # timeline of a server that was used
        self._is_within = False  # a transaction, which goes on on no other connection

    def __repr__(self) -> str:
        return f"<PostgreSQL {self._where}>"

    @contextmanager
    def transaction(self, *, is_durable: bool = True) -> Iterator[None]:
        """All of it, on the server's disk, or nothing; WAL is synced in its order."""
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
        """What a statement finds or returns."""
        connection = self._live()
        with self._mapped():
            cursor = connection.execute(_translated(statement), values)
            return cursor.fetchall() if cursor.description else []

    def among(self, statement: str, keys: Sequence[object], *values: object) -> list[Row]:
        """The same for rows `IN ({keys})`."""
        return in_parts(self.rows, statement, keys, values)

    def write(self, statement: str, rows: Sequence[Row]) -> None:
        """Do it once for each row, all on their way at once."""
        if rows:
            with self._mapped(), self._live().cursor() as cursor:
                cursor.executemany(_translated(statement), rows)

    def expect(self, identity: str, counts: Mapping[str, int]) -> None:
        """A server may be another one when it is back, or its database may have been made anew.

        Or an older copy may have been put in its place. Its timeline is remembered from now on:
        before, there may have been no table for that.
        """
        self._expected, self._counts = identity, counts
        if self._connection is not None:
            self._require(self._connection)

    def publish(self, notification: Sequence[str]) -> None:
        """Whoever listens (`listening`) hears it with the commit."""
        for each in notification:
            self.rows("SELECT pg_notify(?, ?)", (CHANNEL, each))

    def lock(self, crews: Sequence[bytes]) -> None:
        """In the order of their locks, so that nobody waits for each other."""
        numbers = {int.from_bytes(key[:4], signed=True) for key in crews}
        for number in sorted(numbers):
            self.rows("SELECT pg_advisory_xact_lock(?, ?)", (_LOCKS, number))

    def checkpoint(self) -> None:
        """The server's own business."""

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()

    def use(self, act: Callable[[psycopg.Connection[Row]], R]) -> R:
        """Something of PostgreSQL's own; LedgerUnavailableError."""
        with self._mapped():
            return act(self._live())

    def listening(self) -> psycopg.Connection[Row]:
        """A connection of its own that hears what is published; LedgerUnavailableError."""
        with self._mapped():
            connection = self._connect()
            connection.execute(f"LISTEN {CHANNEL}".encode())
            return connection

    def _password(self) -> str | None:
        """None leaves it to the URL, or to what libpq looks at."""
        if self._password_file is None:
            return None
        try:
            return self._password_file.read_text().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise LedgerUnavailableError(
                f"{self._password_file}: the ledger's password cannot be read: {error}"
            ) from error

    def _live(self) -> psycopg.Connection[Row]:
        """The connection; another one where it was lost, unless it is lost in a transaction."""
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
            raise LedgerUnavailableError("the ledger's URL cannot be read by libpq") from error
        try:
            connection = psycopg.connect(
                self._url,
                password=self._password(),
                autocommit=True,
                connect_timeout=round(limits.ledger_connect_seconds),
                tcp_user_timeout=round(limits.ledger_statement_seconds * 1000),
                options=_OPTIONS,
                application_name="crewgate",
                client_encoding="utf8",  # else a SQL_ASCII database answers in bytes
                keepalives_idle=5,  # who only listens notices that a server is gone
                keepalives_interval=2,
                keepalives_count=3,
            )
        except psycopg.Error as error:
            message = f"{where}: {_first_line(error)}"
            raise LedgerUnavailableError(message, may_pass=_is_away(str(error))) from error
        try:
            self._require(connection)
        except LedgerUnavailableError:
            connection.close()
            raise
        return connection

    def _require(self, connection: psycopg.Connection[Row]) -> None:
        """LedgerUnavailableError if nothing may be written there; who only reads writes nothing."""
        with self._mapped():
            if self._readonly:
                connection.execute(_READONLY)
            if is_standby(connection, self._durability):
                raise LedgerUnavailableError(
                    f"{self._where}: is a standby, which takes no writes until it is promoted; "
                    "promote it, or name the primary",
                    may_pass=True,
                )
            why = (
                why_not(connection, self._durability)
                or another(connection, self._expected)
                or self._of_before(connection)
                or self._older(connection)
            )
        if why:
            raise LedgerUnavailableError(f"{self._where}: {why}")

    def _older(self, connection: psycopg.Connection[Row]) -> str:
        """Why this ledger has forgotten what it acknowledged to this process."""
        if self._durability == "trusted":
            return ""
        return older(connection, self._counts)

    def _of_before(self, connection: psycopg.Connection[Row]) -> str:
        """Why this is the server of before a failover, which has come back as if nothing was."""
        if self._durability == "trusted":
            return ""
        found = timeline(connection)
        if found < self._newest:
            return (
                f"its timeline is {found}, and {self._newest} was seen: it is the server of before "
                "a failover, and must not be written to; stop it"
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
    """Whether a connection takes a statement.

    One that is closed does not. Nor does one whose server ended it in the midst of a pipeline: if
    the server's last words are read before the end of the stream, psycopg can neither finish the
    pipeline nor close the connection, and each statement would fail for ever.
    """
    return connection.info.transaction_status is TransactionStatus.IDLE


def _is_away(said: str) -> bool:
    """Whether no server answers, or one is not ready; one that refuses this client is there.

    Servers speak the language of their `lc_messages`. Words that are not known count as of one that
    is not ready: `serve` waits then, and repeats them each time.
    """
    answers = [line for line in said.splitlines() if "FATAL" in line]  # one for each server
    return not answers or any(not any(words in line for words in _REFUSES) for line in answers)


def _passes(error: psycopg.Error) -> bool:
    """Whether the server has closed the session, or did not come to answer, and may later.

    SQLSTATE classes: 08 connection, 53 no resources, 57 an operator's deed or a timeout.
    """
    state = error.sqlstate
    is_operational = isinstance(error, psycopg.OperationalError)
    return is_operational and (state is None or state[:2] in {"08", "53", "57"})


@lru_cache(maxsize=limits.ledger_statements_kept)
def _translated(statement: str) -> bytes:
    return statement.replace("?", "%s").encode()


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
