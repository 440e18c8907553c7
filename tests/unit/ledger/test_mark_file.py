"""The mark of a ledger, its book as it stands, and copies that were taken while it was written."""

import shutil
from pathlib import Path

import pytest
import trio
from account_family import BOOT, NOW, A, draw, family, give, line, spend
from engines import Engine

from crewgate import limits
from crewgate.config import LedgerConfig
from crewgate.core.budget.ledger_mark import HolderOperationCounts, LedgerMark
from crewgate.core.budget.ledger_protocol import DrawLease, ReportLeaseUsage
from crewgate.errors import LedgerReplacedError, LedgerUnavailableError
from crewgate.ledger.factory import open_ledger
from crewgate.ledger.mark_file import find_ledger, read_mark, require, write_mark
from crewgate.ledger.operation_queue import LedgerQueue
from crewgate.ledger.sql import SQLLedger


def opened(file: Path) -> SQLLedger:
    """The family's ledger in a file."""
    ledger = open_ledger(LedgerConfig("sqlite", file))
    assert isinstance(family(lambda: ledger), SQLLedger)
    return ledger


def test_a_ledger_counts_what_a_machine_has_told_it(tmp_path: Path) -> None:
    """In the transaction itself; what this process knows of it is what was committed."""
    file = tmp_path / "ledger.db"
    ledger = opened(file)
    assert ledger.counts == {}
    draw(ledger, A, 1, 60)
    spend(ledger, A, 1, 10)
    give(ledger, A, 50)
    assert ledger.counts == {"one": 3}
    assert find_ledger(LedgerConfig("sqlite", file)) == HolderOperationCounts(
        ledger.identity, {"one": 3}
    )
    ledger.session.close()


def test_a_count_is_never_ahead_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was not committed does not count, nor what opens a branch and may be lost."""
    ledger = opened(tmp_path / "ledger.db")
    draw(ledger, A, 1, 60)
    with monkeypatch.context() as patch:

        def fail(*_: object) -> None:
            raise LedgerUnavailableError("the disk is full")

        patch.setattr(ledger.session, "publish", fail)
        with pytest.raises(LedgerUnavailableError):
            ledger.do_all([ReportLeaseUsage(A, "one", BOOT, 1, 10)], NOW)
    assert ledger.counts == {"one": 1}
    ledger.session.close()


@pytest.mark.parametrize("make", [lambda _: None, lambda file: file.write_bytes(b"")])
def test_there_is_no_book_where_nothing_was_made(tmp_path: Path, make: object) -> None:
    """A file that is missing or empty; looking makes none."""
    file = tmp_path / "ledger.db"
    make(file)  # type: ignore[operator]
    before = sorted(tmp_path.iterdir())
    assert find_ledger(LedgerConfig("sqlite", file)) is None
    assert sorted(tmp_path.iterdir()) == before


def test_a_database_without_tables_is_no_book(tmp_path: Path) -> None:
    """Of either kind."""
    session = Engine(tmp_path, "sqlite").session()
    session.close()
    (file,) = tmp_path.glob("*.db")
    assert find_ledger(LedgerConfig("sqlite", file)) is None


async def test_the_file_alone_has_what_was_committed_a_moment_ago(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery
) -> None:
    """`cp ledger.db` of a gateway that runs, without its log: the books as they stand."""
    monkeypatch.setattr(limits, "ledger_copied_seconds", 0.0)
    file, copy = tmp_path / "ledger.db", tmp_path / "copy.db"
    ledger = opened(file)
    clerk = LedgerQueue(ledger, lambda: NOW)
    nursery.start_soon(clerk.run)
    copied, checkpoint = trio.Event(), ledger.session.checkpoint
    token = trio.lowlevel.current_trio_token()

    def noted() -> None:
        checkpoint()
        token.run_sync_soon(copied.set)

    monkeypatch.setattr(ledger.session, "checkpoint", noted)
    clerk.ask(DrawLease(A, "one", BOOT, 1, 60), lambda _: None)
    with trio.fail_after(30):
        await copied.wait()
    shutil.copy(file, copy)
    nursery.cancel_scope.cancel()
    found = open_ledger(LedgerConfig("sqlite", copy))
    assert (found.identity, line(found, A).leased) == (ledger.identity, 60)
    found.session.close()
    ledger.session.close()


def test_a_young_ledger_is_known_by_its_file_alone(tmp_path: Path) -> None:
    """Before anything is drawn: what is copied is this ledger, not a new one."""
    ledger = open_ledger(LedgerConfig("sqlite", tmp_path / "ledger.db"))
    shutil.copy(tmp_path / "ledger.db", tmp_path / "copy.db")
    found = find_ledger(LedgerConfig("sqlite", tmp_path / "copy.db"))
    assert found is not None
    assert found.ledger == ledger.identity
    ledger.session.close()


def test_a_mark_is_kept(tmp_path: Path) -> None:
    """Of its owner alone."""
    mark = LedgerMark("a" * 32, "one", 5, 3)
    assert read_mark(tmp_path) is None
    write_mark(tmp_path, mark)
    assert read_mark(tmp_path) == mark
    assert (tmp_path / "ledger.mark").stat().st_mode & 0o777 == 0o600


def test_a_mark_that_cannot_be_read_is_no_licence(tmp_path: Path) -> None:
    """What it said is not known."""
    (tmp_path / "ledger.mark").write_text("{")
    with pytest.raises(LedgerReplacedError, match="crewgate ledger accept"):
        read_mark(tmp_path)


def test_a_table_of_before_has_the_ledgers_identity_beside_it(tmp_path: Path) -> None:
    """A version that kept no marks is followed by one that knows which ledger it was."""
    (tmp_path / "table.ledger").write_text(f"{'a' * 32} one\n")
    assert read_mark(tmp_path) == LedgerMark("a" * 32, "one")
    with pytest.raises(LedgerReplacedError, match="another ledger"):
        require(
            LedgerConfig("sqlite", Path("x")),
            read_mark(tmp_path),
            HolderOperationCounts("b" * 32, {}),
        )
