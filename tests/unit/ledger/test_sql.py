"""What only a ledger in a database has: many operations or machines at once, and its tables."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from account_family import BOOT, CREW, NEXT_BOOT, NOW, ROOT, A, B, family, line, path
from engines import Engine
from small_disk import on_a_small_disk, why_no_small_disk

from crewgate import limits
from crewgate.core.budget.ledger_protocol import (
    BranchClosed,
    BranchesOpened,
    BranchPathLevel,
    CloseBranch,
    DrawGranted,
    DrawLease,
    DrawQueued,
    PathMismatch,
    QuotaExhausted,
    ReportLeaseUsage,
    ReturnCredit,
)
from crewgate.errors import InvalidLedgerOperationError, LedgerUnavailableError
from crewgate.ledger import schema
from crewgate.ledger.consistency import findings
from crewgate.ledger.sql import SQLLedger
from crewgate.ledger.sql_session import SQLSession
from crewgate.ledger.sqlite_session import SQLiteSession

SMALL = """
import sys
from pathlib import Path
from crewgate.ledger import schema
from crewgate.ledger.sqlite_session import SQLiteSession
session = SQLiteSession(Path(sys.argv[1]) / "ledger.db")
schema.migrate(session)
with session.transaction():
    session.rows("CREATE TABLE more (number)")
session.close()
print("ok")
"""

FULL = """
import sys
from pathlib import Path
from small_disk import fill
from crewgate.errors import LedgerUnavailableError
from crewgate.ledger import schema
from crewgate.ledger.sqlite_session import SQLiteSession
from crewgate.runtime.durable_files import is_full
from crewgate import limits
limits.ledger_log_bytes = 65_536  # so that there is room to copy it into the file
folder = Path(sys.argv[1])
session = SQLiteSession(folder / "ledger.db")
schema.migrate(session)
session.close()
assert not list(folder.glob("*-shm")), list(folder.iterdir())
fill(folder)
for readonly in (False, True):
    try:
        SQLiteSession(folder / "ledger.db", readonly=readonly).rows("SELECT count(*) FROM holder")
    except LedgerUnavailableError as error:
        print(is_full(error), error)
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def session(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SQLSession]:
    """An empty database."""
    made = Engine(tmp_path, request.param).session()
    yield made
    made.close()


@pytest.fixture
def ledger(session: SQLSession) -> SQLLedger:
    """A family in it."""
    schema.migrate(session)
    family(lambda: SQLLedger(session))
    return SQLLedger(session)


def test_a_log_is_as_long_as_it_gets_from_the_start(tmp_path: Path) -> None:
    """And nothing of that stands in the database, whoever opens it again."""
    for _ in range(2):
        session = SQLiteSession(tmp_path / "ledger.db")
        schema.migrate(session)
        ledger = family(lambda: SQLLedger(session))  # noqa: B023 - called at once
        assert (tmp_path / "ledger.db-wal").stat().st_size >= limits.ledger_log_bytes
        assert not session.rows("SELECT 1 FROM sqlite_schema WHERE name = 'filler'")
        assert line(ledger, ROOT).quota == 100
        session.close()
    assert (tmp_path / "ledger.db").stat().st_size < limits.ledger_log_bytes / 10


@pytest.mark.skipif(bool(why_no_small_disk()), reason=why_no_small_disk())
def test_a_disk_with_room_for_no_such_log_will_do(tmp_path: Path) -> None:
    """Commits are slower then, and nothing else."""
    answer = on_a_small_disk(tmp_path, SMALL)
    assert (answer.returncode, answer.stdout) == (0, "ok\n"), answer.stderr


@pytest.mark.skipif(bool(why_no_small_disk()), reason=why_no_small_disk())
def test_a_closed_ledger_on_a_full_disk_says_that_there_is_no_room(tmp_path: Path) -> None:
    """SQLite cannot make its shared memory, and calls that an error of the disk."""
    answer = on_a_small_disk(tmp_path, FULL)
    assert answer.returncode == 0, answer.stderr
    lines = answer.stdout.splitlines()
    assert len(lines) == 2
    for line_ in lines:
        assert line_.startswith(f"True {tmp_path / 'ledger.db'}: its disk has no room")
        assert "make room" in line_


def test_many_operations_are_one_transaction(ledger: SQLLedger) -> None:
    """In their order, each with its answer; one that the protocol excludes spoils no other."""
    answers = ledger.do_all(
        [
            DrawLease(A, "one", BOOT, 1, 60),
            DrawLease(b"nobody".ljust(16), "one", BOOT, 1, 60),
            DrawLease(B, "two", BOOT, 1, 60),
            ReportLeaseUsage(A, "one", BOOT, 1, 20),
            ReturnCredit(A, "one", BOOT, 40),
            DrawLease(B, "two", BOOT, 2, 60),
            CloseBranch(A),
            DrawLease(A, "one", BOOT, 2, 1),
        ],
        NOW,
    )
    assert [type(each) for each in answers[:3]] == [
        DrawGranted,
        InvalidLedgerOperationError,
        type(answers[2]),
    ]
    assert not isinstance(answers[2], DrawGranted)
    assert isinstance(answers[5], DrawGranted)
    assert answers[7] == BranchClosed(A)
    assert [line(ledger, key).settled for key in (CREW, ROOT, A, B)] == [20, 20, 20, 0]


def test_an_error_undoes_all_of_a_batch(ledger: SQLLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever cannot write the last row has granted nothing."""
    before = ledger.report()
    write = ledger.session.write

    def fail(statement: str, rows: list[tuple[object, ...]]) -> None:
        if statement.startswith("INSERT INTO lease"):
            raise LedgerUnavailableError("the disk is full")
        write(statement, rows)

    monkeypatch.setattr(ledger.session, "write", fail)
    with pytest.raises(LedgerUnavailableError):
        ledger.do_all([DrawLease(A, "one", BOOT, 1, 60)], NOW)
    monkeypatch.undo()
    assert ledger.report() == before
    assert isinstance(ledger.do(DrawLease(A, "one", BOOT, 1, 60), NOW), DrawGranted)


def test_several_machines_make_the_tables_at_once(tmp_path: Path) -> None:
    """As the pods of a cluster do at their first start: one makes them, and none fails."""
    engine = Engine(tmp_path, "postgresql")
    first = engine.session()
    barrier = threading.Barrier(4)
    found: list[tuple[int, int]] = []

    def machine() -> None:
        session = type(first)(first._url)
        try:
            session.rows("SELECT 1")
            barrier.wait()
            found.append(schema.migrate(session))
        finally:
            session.close()

    threads = [threading.Thread(target=machine) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first.close()
    assert sorted(found) == [(0, schema.VERSION), *[(schema.VERSION, schema.VERSION)] * 3]


def test_many_machines_never_grant_more_than_there_is(tmp_path: Path) -> None:
    """Four connections draw ones from two branches of one root: exactly its quota, to the last."""
    engine = Engine(tmp_path, "postgresql")
    first = engine.session()
    schema.migrate(first)
    family(lambda: SQLLedger(first), root=150)
    granted: list[int] = []
    problems: list[BaseException] = []

    def machine(name: str) -> None:
        session = type(first)(first._url)
        try:
            own, spent = SQLLedger(session), {A: 0, B: 0}
            for seq in range(1, 101):
                branch = (A, B)[seq % 2]
                answer = own.do(DrawLease(branch, name, BOOT, seq, 1), NOW)
                if isinstance(answer, DrawGranted):
                    granted.append(answer.amount)
                    spent[branch] += answer.amount
                    own.do(ReportLeaseUsage(branch, name, BOOT, seq, spent[branch]), 0.0)
                else:  # a ticket while another machine has not told yet that it spent its one
                    assert isinstance(answer, QuotaExhausted | DrawQueued)
        except BaseException as error:  # noqa: BLE001 - the test is told
            problems.append(error)
        finally:
            session.close()

    threads = [threading.Thread(target=machine, args=(name,)) for name in ("a", "b", "c", "d")]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not problems
    assert sum(granted) == 150
    assert line(SQLLedger(first), ROOT).remaining == 0
    first.close()


def test_migrations_are_done_once(session: SQLSession) -> None:
    """The first time all, then none; a ledger keeps its identity, another has its own."""
    assert schema.version(session) == 0
    assert schema.migrate(session) == (0, schema.VERSION)
    assert schema.migrate(session) == (schema.VERSION, schema.VERSION)
    assert schema.version(session) == schema.VERSION
    identity = SQLLedger(session).identity
    assert len(identity) == 32
    assert SQLLedger(session).identity == identity


def test_a_database_of_a_later_crewgate_is_left_alone(session: SQLSession) -> None:
    """It is said which version it has."""
    schema.migrate(session)
    session.rows("INSERT INTO migration VALUES (?, ?)", (schema.VERSION + 1, "later"))
    with pytest.raises(LedgerUnavailableError, match=f"version {schema.VERSION + 1}"):
        schema.migrate(session)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.write_bytes(b"no database" * 1000), "is no ledger"),
        (lambda path: path.mkdir(), "cannot be opened"),
    ],
)
def test_a_file_that_is_no_ledger_is_named(tmp_path: Path, make: object, said: str) -> None:
    """And what to do about it."""
    path = tmp_path / "ledger.db"
    make(path)  # type: ignore[operator]
    with pytest.raises(LedgerUnavailableError, match=said):
        SQLiteSession(path)


def test_a_machine_of_many_branches_can_draw_after_a_reboot(
    session: SQLSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database takes so many values at once; what a new boot burns may be more."""
    monkeypatch.setattr(limits, "ledger_keys_max", 8)
    schema.migrate(session)
    ledger = SQLLedger(session)
    branches = [bytes([number]) * 16 for number in range(1, 30)]
    opens = [
        path(BranchPathLevel(ROOT, 1000, 1), BranchPathLevel(each, 100, 1)) for each in branches
    ]
    draws = [DrawLease(each, "one", BOOT, 1, 10) for each in branches]
    answers = ledger.do_all([*opens, *draws], NOW)
    assert all(isinstance(each, DrawGranted) for each in answers[29:])
    assert isinstance(ledger.do(DrawLease(branches[0], "one", NEXT_BOOT, 1, 10), NOW), DrawGranted)
    assert (line(ledger, ROOT).burned, line(ledger, ROOT).leased) == (290, 10)
    assert list(findings(session)) == []
    assert len(ledger.statements(branches)) == 29


def test_a_known_branch_stands_under_its_own_path_in_a_batch(ledger: SQLLedger) -> None:
    """Whatever a token of the same batch says that its path is."""
    ledger.do(DrawLease(A, "one", BOOT, 1, 10), NOW)
    moved = path(BranchPathLevel(b"elsewhere".ljust(16), 10, 5), BranchPathLevel(A, 10, 5))
    answers = ledger.do_all([ReportLeaseUsage(A, "one", BOOT, 1, 4), moved], NOW)
    assert answers == [None, PathMismatch(A)]
    assert line(ledger, ROOT).settled == 4


def test_every_level_is_told_how_far_its_own_lease_got(ledger: SQLLedger) -> None:
    """An ancestor that draws for itself too."""
    ledger.do(DrawLease(ROOT, "one", BOOT, 1, 10), NOW)
    opened = ledger.do(path(BranchPathLevel(ROOT, 100, 1), BranchPathLevel(A, 100, 1)), 0.0)
    assert isinstance(opened, BranchesOpened)
    assert [each.lease.granted for each in opened.grants] == [0, 10, 0]


def test_a_database_that_was_made_anew_is_another_ledger(tmp_path: Path) -> None:
    """Found out when the connection is: nothing is granted by one that knows of nothing."""
    engine = Engine(tmp_path, "postgresql")
    first = engine.session()
    schema.migrate(first)
    ledger = family(lambda: SQLLedger(first))
    first.rows("UPDATE migration SET ledger = 'another one'")
    first.close()
    with pytest.raises(LedgerUnavailableError, match="this is another ledger now"):
        ledger.do(DrawLease(A, "one", BOOT, 1, 10), NOW)
