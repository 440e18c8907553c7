"""What a server is asked before anything is granted on it, and what a failover stops."""

import socket
import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import Any

import psycopg
import pytest
from account_family import BOOT, NOW, A, family
from click.testing import CliRunner
from postgres import Server, server

from crewgate.cli import main
from crewgate.cli.commands.init import write_all
from crewgate.config import Durability
from crewgate.core.budget.ledger_protocol import DrawGranted, DrawLease
from crewgate.errors import LedgerUnavailableError
from crewgate.ledger import postgresql_session, schema
from crewgate.ledger.postgresql_session import PostgreSQLSession
from crewgate.ledger.server_durability_check import accept
from crewgate.ledger.sql import SQLLedger


@pytest.fixture(scope="module")
def synced() -> Iterator[Server]:
    """One that syncs, as any server does that is not told otherwise."""
    made = Server(("max_wal_senders=4",))
    yield made
    made.end()


def draw(url: str, durability: Durability, seq: int) -> object:
    """Open a connection, and draw one micro-credit."""
    session = PostgreSQLSession(url, durability=durability)
    try:
        return SQLLedger(session).do(DrawLease(A, "one", BOOT, seq, 1), NOW)
    finally:
        session.close()


def test_a_server_that_forgets_grants_nothing() -> None:
    """Without fsync, unless somebody has said that he knows."""
    url = server().new_database("lazy")
    with pytest.raises(LedgerUnavailableError, match="fsync is off"):
        PostgreSQLSession(url, durability="single").rows("SELECT 1")
    session = PostgreSQLSession(url, durability="trusted")
    assert session.rows("SELECT 1") == [(1,)]
    session.close()


def test_synchronous_wants_a_standby(synced: Server) -> None:
    """Else it is a single server, and should be called one."""
    url = synced.new_database("alone")
    with pytest.raises(LedgerUnavailableError, match="synchronous_standby_names is empty"):
        PostgreSQLSession(url, durability="synchronous").rows("SELECT 1")


def test_a_standby_is_waited_for(synced: Server) -> None:
    """It may be promoted; whoever only reads is served."""
    synced.stand_by()
    try:
        with pytest.raises(LedgerUnavailableError, match="until it is promoted") as caught:
            PostgreSQLSession(synced.url(), durability="single").rows("SELECT 1")
        assert caught.value.may_pass
        reader = PostgreSQLSession(synced.url(), durability="single", readonly=True)
        with closing(reader):
            assert reader.rows("SELECT 1") == [(1,)]
    finally:
        synced.lead()


def test_a_session_that_the_server_ends_is_waited_for() -> None:
    """As while it is shut down; what a statement says wrongly does not pass."""
    session = PostgreSQLSession(server().url())
    with closing(session):
        with pytest.raises(LedgerUnavailableError) as caught:
            session.rows("SELECT pg_terminate_backend(pg_backend_pid())")
        assert caught.value.may_pass
        with pytest.raises(LedgerUnavailableError) as caught:
            session.rows("SELECT 1 FROM nothing")
        assert not caught.value.may_pass


def test_a_connection_that_hangs_in_a_pipeline_is_made_anew() -> None:
    """A server that is killed while many rows are on their way may leave it so."""

    def leave(connection: psycopg.Connection[Any]) -> None:
        connection.pgconn.enter_pipeline_mode()
        connection.pgconn.send_query_params(b"SELECT 1", None)

    session = PostgreSQLSession(server().url())
    with closing(session):
        session.use(leave)
        with session.transaction():
            assert session.rows("SELECT 1") == [(1,)]
        session.use(leave)
        assert session.rows("SELECT 1") == [(1,)]


def test_a_session_that_ends_while_its_server_is_asked_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Between the connection and the first word on it."""

    def end(connection: psycopg.Connection[Any], _durability: Durability) -> bool:
        connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        return False

    monkeypatch.setattr(postgresql_session, "is_standby", end)
    with pytest.raises(LedgerUnavailableError) as caught:
        PostgreSQLSession(server().url(), durability="single").rows("SELECT 1")
    assert caught.value.may_pass


@pytest.mark.parametrize(
    ("said", "is_away"),
    [
        ("connection failed: Connection refused", True),
        ("FATAL:  the database system is not yet accepting connections", True),
        ("FATAL:  remaining connection slots are reserved for superusers", True),
        ("FATAL:  sorry, too many clients already", True),
        ("FATAL:  terminating connection due to administrator command", True),
        ('FATAL:  password authentication failed for user "crewgate"', False),
        ('FATAL:  database "ledger" does not exist', False),
        ('FATAL:  no pg_hba.conf entry for host "10.0.0.1", user "crewgate"', False),
        ('FATAL:  permission denied for database "ledger"', False),
        ("FATAL:  unsupported startup parameter: options", False),
        ("one: FATAL:  the system is starting up\ntwo: FATAL:  no pg_hba.conf entry", True),
        ("one: FATAL:  no pg_hba.conf entry\ntwo: FATAL:  no pg_hba.conf entry", False),
        ("one: Connection refused\ntwo: FATAL:  no pg_hba.conf entry", False),
    ],
)
def test_a_server_that_is_not_ready_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
    said: str,
    is_away: bool,
) -> None:
    """In its own words; one that does not let this client in needs a person."""

    def connect(*_: object, **__: object) -> None:
        raise psycopg.OperationalError(said)

    monkeypatch.setattr(psycopg, "connect", connect)
    with pytest.raises(LedgerUnavailableError) as caught:
        PostgreSQLSession("postgresql://crewgate@/ledger").rows("SELECT 1")
    assert caught.value.may_pass is is_away


@contextmanager
def refusing(severity: str, said: str) -> Iterator[int]:
    """The port of a server that is starting up, and says so in its own language."""

    def answer() -> None:
        with suppress(OSError):
            while True:
                client = door.accept()[0]
                with client:
                    client.recv(4096)  # the startup message, which is far shorter
                    fields = f"S{severity}\0VFATAL\0C57P03\0M{said}\0\0".encode()
                    client.sendall(b"E" + struct.pack("!I", 4 + len(fields)) + fields)

    with socket.create_server(("127.0.0.1", 0)) as door:
        thread = Thread(target=answer)
        thread.start()
        try:
            yield door.getsockname()[1]
        finally:
            door.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize(
    ("severity", "said"),
    [
        ("FATAL", "das Datenbanksystem startet"),
        ("FATAL", "le système de bases de données se lance"),
        ("ВАЖНО", "система баз данных запускается"),
    ],
)
def test_a_server_that_starts_up_is_waited_for_in_every_language(severity: str, said: str) -> None:
    """Its code, 57P03, does not come through libpq, and its words are shown."""
    with refusing(severity, said) as port:
        url = f"postgresql://crewgate@127.0.0.1:{port}/ledger?sslmode=disable&gssencmode=disable"
        with pytest.raises(LedgerUnavailableError, match=said) as caught:
            PostgreSQLSession(url).rows("SELECT 1")
    assert caught.value.may_pass


def test_after_a_failover_nothing_is_granted_until_somebody_has_looked(
    synced: Server, tmp_path: Path
) -> None:
    """A changed timeline freezes grants; reports go on; `ledger resume` takes it as it is."""
    url = synced.new_database("budgets")
    session = PostgreSQLSession(url, durability="single")
    schema.migrate(session)
    family(lambda: SQLLedger(session))
    session.close()
    assert isinstance(draw(url, "single", 1), DrawGranted)
    synced.fail_over()
    with pytest.raises(LedgerUnavailableError, match="its timeline was 00000001 and is 00000002"):
        draw(url, "single", 2)
    assert isinstance(draw(url, "trusted", 2), DrawGranted)
    file = write_all(tmp_path / "gate", 8443)
    text = file.read_text().replace("sqlite:state/ledger.db", url)
    file.write_text(text)
    for command in ("report", "check"):
        done = CliRunner().invoke(main, ["ledger", command, "-c", str(file)])
        assert done.exit_code == 0, done.output
    resumed = CliRunner().invoke(main, ["ledger", "resume", "-c", str(file)])
    assert "Accepted timeline 00000002 as the ledger" in resumed.stderr
    assert isinstance(draw(url, "single", 3), DrawGranted)


@pytest.mark.parametrize("wanted", ["read-write", "primary"])
def test_reports_go_where_the_url_wants_a_server_that_takes_writes(
    tmp_path: Path, wanted: str
) -> None:
    """Who only reads says so once connected; libpq would refuse a session that begins so."""
    url = server().new_database(f"for-{wanted}") + f"&target_session_attrs={wanted}"
    session = PostgreSQLSession(url)
    schema.migrate(session)
    session.close()
    file = write_all(tmp_path / "gate", 8443)
    file.write_text(file.read_text().replace("sqlite:state/ledger.db", url))
    (tmp_path / "gate" / "audit").mkdir(exist_ok=True)
    for command in ("report", "reconcile", "check"):
        done = CliRunner().invoke(main, ["ledger", command, "-c", str(file)])
        assert done.exit_code == 0, done.output
    reader = PostgreSQLSession(url, readonly=True)
    with closing(reader):
        with pytest.raises(LedgerUnavailableError, match="read-only transaction"):
            reader.write("INSERT INTO closed VALUES (?)", [(b"key",)])
        with reader.transaction():
            assert reader.rows("SHOW transaction_isolation") == [("repeatable read",)]


def test_a_file_never_becomes_another_one(tmp_path: Path) -> None:
    """One line, and status 2."""
    file = write_all(tmp_path / "gate", 8443)
    done = CliRunner().invoke(main, ["ledger", "resume", "-c", str(file)])
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)


def test_a_server_that_was_put_back_while_a_machine_draws_grants_nothing(synced: Server) -> None:
    """Restored from a dump: the same ledger by its identity, and behind its machine.

    A person who has looked lets it grant again (`ledger resume`).
    """
    url = synced.new_database("put-back")
    session = PostgreSQLSession(url, durability="single")
    schema.migrate(session)
    ledger = SQLLedger(session)
    family(lambda: ledger)
    for seq in (1, 2):
        assert isinstance(ledger.do(DrawLease(A, "one", BOOT, seq, 1), NOW), DrawGranted)
    somebody = PostgreSQLSession(url)
    somebody.rows("UPDATE holder SET beat = 1")
    session.close()  # its connection is lost, and made again
    with pytest.raises(LedgerUnavailableError, match="lacks the last 1 of 2 operations of one"):
        ledger.do(DrawLease(A, "one", BOOT, 3, 1), NOW)
    somebody.use(accept)
    somebody.close()
    assert isinstance(ledger.do(DrawLease(A, "one", BOOT, 3, 1), NOW), DrawGranted)
    session.close()
