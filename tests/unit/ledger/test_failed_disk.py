"""A ledger in a file whose disk has failed: what is there then is used, if it is this ledger."""

import shutil
from pathlib import Path

import pytest
from account_family import BOOT, NOW, A, family, line
from small_disk import failing_disk

from crewgate.core.budget.ledger_protocol import DrawGranted, DrawLease
from crewgate.errors import LedgerUnavailableError
from crewgate.ledger import schema
from crewgate.ledger.sql import SQLLedger
from crewgate.ledger.sqlite_session import SQLiteSession


def made(folder: Path) -> SQLLedger:
    """A ledger with a family of branches."""
    folder.mkdir()
    session = SQLiteSession(folder / "ledger.db")
    schema.migrate(session)
    ledger = SQLLedger(session)
    family(lambda: ledger)
    return ledger


def drawn(ledger: SQLLedger, number: int) -> object:
    return ledger.do(DrawLease(A, "one", BOOT, number, 10), NOW)


def fail(ledger: SQLLedger, folder: Path, place: Path) -> None:
    """Its disk fails, and another with the content of `place` is there instead."""
    with failing_disk(), pytest.raises(LedgerUnavailableError, match="disk I/O error"):
        drawn(ledger, 99)
    folder.rename(folder.with_name("failed"))
    place.rename(folder)


def test_the_same_ledger_on_another_disk_goes_on(tmp_path: Path) -> None:
    """With all that it was told, and what it is told now is there after the end."""
    folder, kept = tmp_path / "disk", tmp_path / "kept"
    ledger = made(folder)
    assert isinstance(drawn(ledger, 1), DrawGranted)
    shutil.copytree(folder, kept)
    fail(ledger, folder, kept)
    assert isinstance(drawn(ledger, 2), DrawGranted)
    assert (folder / "ledger.db-wal").exists()
    reader = SQLiteSession(folder / "ledger.db", readonly=True)
    assert line(SQLLedger(reader), A).leased == 20
    reader.close()
    ledger.session.close()
    again = SQLiteSession(folder / "ledger.db")
    assert line(SQLLedger(again), A).leased == 20
    again.close()


def test_the_same_disk_goes_on_once_it_takes_writes(tmp_path: Path) -> None:
    """As one that was mounted read-only."""
    ledger = made(tmp_path / "disk")
    with failing_disk(), pytest.raises(LedgerUnavailableError):
        drawn(ledger, 1)
    assert isinstance(drawn(ledger, 1), DrawGranted)
    assert line(ledger, A).leased == 10
    ledger.session.close()


def test_an_older_copy_is_refused(tmp_path: Path) -> None:
    """It would grant again what was spent; once the newer one is there, that is used."""
    folder, old, new = (tmp_path / name for name in ("disk", "old", "new"))
    ledger = made(folder)
    shutil.copytree(folder, old)
    assert isinstance(drawn(ledger, 1), DrawGranted)
    shutil.copytree(folder, new)
    fail(ledger, folder, old)
    for _ in range(2):
        with pytest.raises(LedgerUnavailableError, match="lacks the last 1 of"):
            drawn(ledger, 2)
    folder.rename(old)
    new.rename(folder)
    assert isinstance(drawn(ledger, 2), DrawGranted)
    assert line(ledger, A).leased == 20
    ledger.session.close()


def test_another_ledger_and_none_are_refused(tmp_path: Path) -> None:
    """And none is made where there is none."""
    folder = tmp_path / "disk"
    ledger, other = made(folder), made(tmp_path / "other")
    other.session.close()
    fail(ledger, folder, tmp_path / "other")
    with pytest.raises(LedgerUnavailableError, match="it is another ledger"):
        drawn(ledger, 1)
    folder.rename(tmp_path / "other")
    folder.mkdir()
    with pytest.raises(LedgerUnavailableError, match="cannot be opened"):
        drawn(ledger, 1)
    assert list(folder.iterdir()) == []
    ledger.session.close()
