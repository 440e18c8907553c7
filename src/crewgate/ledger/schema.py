"""The tables of a ledger, as migrations: each runs once, in order, and never changes afterwards.

Every account keeps its totals, so that a draw reads only its path.
"""

from crewgate.errors import LedgerUnavailableError
from crewgate.ledger.sql_session import SQLSession

# account: a branch has the keys of the levels above, the crew's first; a crew has an empty path,
# and uses the columns of hour and day. lease: the totals of one holder in one boot. ticket: the
# draws that wait, in order of arrival (`place`).
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE account (
            key {bytes} PRIMARY KEY, path {bytes} NOT NULL, name TEXT NOT NULL,
            quota BIGINT NOT NULL, iat BIGINT NOT NULL,
            charged BIGINT NOT NULL, settled BIGINT NOT NULL, reserved BIGINT NOT NULL,
            burned BIGINT NOT NULL, live BIGINT NOT NULL, overrun BIGINT NOT NULL,
            hourly_max BIGINT NOT NULL, daily_max BIGINT NOT NULL,
            hour BIGINT NOT NULL, hour_charged BIGINT NOT NULL,
            day BIGINT NOT NULL, day_charged BIGINT NOT NULL)""",
        """CREATE TABLE lease (
            branch {bytes} NOT NULL REFERENCES account, holder TEXT NOT NULL, boot {bytes} NOT NULL,
            granted BIGINT NOT NULL, given_back BIGINT NOT NULL, spent BIGINT NOT NULL,
            reserved BIGINT NOT NULL, lost BIGINT NOT NULL, overrun BIGINT NOT NULL,
            written_off BIGINT NOT NULL, void BIGINT NOT NULL, forgiven BIGINT NOT NULL,
            seq BIGINT NOT NULL, reply {bytes}, report BIGINT NOT NULL,
            hour BIGINT NOT NULL, hour_charged BIGINT NOT NULL,
            day BIGINT NOT NULL, day_charged BIGINT NOT NULL,
            PRIMARY KEY (branch, holder, boot))""",
        "CREATE INDEX lease_of ON lease (holder, boot)",
        "CREATE TABLE holder (name TEXT PRIMARY KEY, boot {bytes} NOT NULL, beat BIGINT NOT NULL)",
        """CREATE TABLE replaced (
            holder TEXT NOT NULL, boot {bytes} NOT NULL, PRIMARY KEY (holder, boot))""",
        "CREATE TABLE closed (key {bytes} PRIMARY KEY)",
        "CREATE TABLE server (timeline TEXT NOT NULL)",
        """CREATE TABLE ticket (
            place {serial} PRIMARY KEY, level {bytes} NOT NULL, branch {bytes} NOT NULL,
            holder TEXT NOT NULL, boot {bytes} NOT NULL, need BIGINT NOT NULL,
            asked DOUBLE PRECISION NOT NULL, UNIQUE (level, branch, holder, boot))""",
    ),
)
VERSION = len(MIGRATIONS)
_NO_CREW = bytes(16)


def version(session: SQLSession) -> int:
    """Return how many migrations have run; 0 for an empty database."""
    found = session.rows(session.dialect["tables"], ("migration",))
    return int(session.rows("SELECT count(*) FROM migration")[0][0]) if found else 0


def migrate(session: SQLSession) -> tuple[int, int]:
    """Bring the tables up to date; return the version before and after.

    If several machines do this at once, one does it, and the others wait. Raises
    LedgerUnavailableError.
    """
    with session.transaction():
        session.lock((_NO_CREW,))
        if not session.rows(session.dialect["tables"], ("migration",)):
            session.rows("CREATE TABLE migration (version BIGINT PRIMARY KEY, ledger TEXT)")
        before = version(session)
        for number, statements in enumerate(MIGRATIONS[before:], start=before + 1):
            for statement in statements:
                session.rows(statement.format(**session.dialect))
            session.rows(
                f"INSERT INTO migration VALUES (?, {session.dialect['random']})", (number,)
            )
    require_known(session, before)
    return before, max(before, VERSION)


def require_current(session: SQLSession) -> None:
    """Raise LedgerUnavailableError unless exactly the migrations of this Crewgate have run."""
    found = version(session)
    require_known(session, found)
    if found < VERSION:
        raise LedgerUnavailableError(
            f"{session!r}: its tables are of version {found}, but this Crewgate needs {VERSION}: "
            "run `crewgate ledger migrate`",
            may_pass=True,
        )


def require_known(session: SQLSession, found: int) -> None:
    """Raise LedgerUnavailableError for a database that a later Crewgate has written."""
    if found > VERSION:
        raise LedgerUnavailableError(
            f"{session!r}: its tables are of version {found}, but this Crewgate knows only "
            f"{VERSION}: use the newer Crewgate, or another database"
        )


def identity(session: SQLSession) -> str:
    """Return the random identity of this ledger; a new database in its place has another one."""
    return str(session.rows("SELECT ledger FROM migration WHERE version = 1")[0][0])
