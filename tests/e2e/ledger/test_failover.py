"""PostgreSQL with a standby: what was granted is granted still when that takes over."""

import signal
import threading
from collections.abc import Iterator

import pytest
from account_family import NOW, ROOT, A, family, line
from installation import wait_until
from postgres import Server

from crewgate.core.budget.ledger_protocol import DrawGranted, DrawLease
from crewgate.errors import LedgerUnavailableError
from crewgate.ledger import schema
from crewgate.ledger.postgresql_session import PostgreSQLSession
from crewgate.ledger.server_durability_check import accept
from crewgate.ledger.sql import SQLLedger

SYNCED = ("max_wal_senders=8", "synchronous_commit=on")
BOOT = b"boot" * 4


class Pair:
    """A primary, its standby, and one URL for whichever of them takes writes."""

    def __init__(self) -> None:
        self.primary = Server(SYNCED)
        self.standby = Server(SYNCED, self.primary)

    @property
    def url(self) -> str:
        hosts = f"{self.primary.folder},{self.standby.folder}"
        return f"postgresql://crewgate@/postgres?host={hosts}&target_session_attrs=read-write"

    def end(self) -> None:
        self.standby.end()
        self.primary.end()


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Both run."""
    made = Pair()
    yield made
    made.end()


def drawn(ledger: SQLLedger, first: int, count: int) -> list[int]:
    """Amounts of so many draws, the numbers from `first`."""
    answers = [ledger.do(DrawLease(A, "one", BOOT, first + n, 1), NOW) for n in range(count)]
    return [answer.amount for answer in answers if isinstance(answer, DrawGranted)]


def draw_until_lost(ledger: SQLLedger, granted: list[int]) -> None:
    """Draw one after the other, until there is no answer."""
    while True:
        try:
            granted += drawn(ledger, len(granted) + 1, 1)
        except LedgerUnavailableError:
            return


def is_followed(server: Server) -> bool:
    """Whether a commit waits for a standby that is there."""
    session = PostgreSQLSession(server.url())
    try:
        return session.rows("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'") != []
    finally:
        session.close()


def followed_by(server: Server) -> Server:
    """A new standby, which has every commit from now on."""
    standby = Server(SYNCED, server)
    server.follow_by("standby")
    wait_until(lambda: is_followed(server))
    return standby


def test_a_standby_has_every_grant_that_was_acknowledged(pair: Pair) -> None:
    """The primary is killed in the midst of draws; what takes over goes on where that ended."""
    pair.primary.follow_by("standby")
    wait_until(lambda: is_followed(pair.primary))
    session = PostgreSQLSession(pair.url, durability="synchronous")
    schema.migrate(session)
    ledger = family(lambda: SQLLedger(session), root=10**9, a=10**9)
    assert isinstance(ledger, SQLLedger)
    granted = drawn(ledger, 1, 20)
    killer = threading.Timer(0.2, pair.primary.stop, [signal.SIGKILL])
    killer.start()
    draw_until_lost(ledger, granted)
    killer.join()
    pair.standby.promote()
    with pytest.raises(LedgerUnavailableError, match="synchronous_standby_names is empty"):
        drawn(ledger, len(granted) + 1, 1)
    third = followed_by(pair.standby)
    try:
        granted += drawn(ledger, len(granted) + 1, 20)
        assert line(ledger, ROOT).leased == sum(granted) == len(granted)
        assert len(granted) > 40
    finally:
        session.close()
        third.end()


def test_the_server_of_before_is_written_to_no_more(pair: Pair) -> None:
    """It has come back, and takes writes as if nothing had been: it would grant all once more."""
    session = PostgreSQLSession(pair.url, durability="single")
    schema.migrate(session)
    ledger = family(lambda: SQLLedger(session))
    assert isinstance(ledger, SQLLedger)
    granted = drawn(ledger, 1, 5)
    wait_until(lambda: has_caught_up(pair))
    pair.primary.stop(signal.SIGKILL)
    draw_until_lost(ledger, granted)
    pair.standby.promote()
    with pytest.raises(LedgerUnavailableError, match="its timeline was 00000001 and is 00000002"):
        drawn(ledger, 6, 1)
    somebody = PostgreSQLSession(pair.url)
    somebody.use(accept)
    somebody.close()
    granted += drawn(ledger, 6, 5)
    assert granted == [1] * 10
    pair.standby.stop(signal.SIGKILL)
    draw_until_lost(ledger, granted)
    pair.primary.start()
    with pytest.raises(LedgerUnavailableError, match="a failover has replaced this server"):
        drawn(ledger, 11, 1)
    session.close()


def has_caught_up(pair: Pair) -> bool:
    """Whether the standby has written all that the primary has."""
    session = PostgreSQLSession(pair.primary.url())
    query = "SELECT 1 FROM pg_stat_replication WHERE flush_lsn = pg_current_wal_flush_lsn()"
    try:
        return session.rows(query) != []
    finally:
        session.close()
