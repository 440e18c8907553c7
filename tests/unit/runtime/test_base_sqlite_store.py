"""The CA's books: on the disk or not at all, and every failure worded by their owner."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from crewgate.errors import CAError
from crewgate.runtime.base_sqlite_store import BaseSQLiteStore, remedy_of


class Books(BaseSQLiteStore):
    def _prepare(self) -> None:
        """There is one table, which the fixture makes."""

    def _failed(self, error: Exception) -> CAError:
        return CAError(f"books: {error}")


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Books]:
    database = Books(tmp_path / "books.sqlite")
    database._rows("CREATE TABLE page (number INTEGER PRIMARY KEY) STRICT")
    yield database
    database.close()


def test_all_of_it_or_nothing(books: Books) -> None:
    """Also when what fails is not SQLite; and the next transaction can be made."""

    def fail() -> None:
        with books._transaction() as connection:
            connection.execute("INSERT INTO page VALUES (1)")
            raise OSError("something else")

    with pytest.raises(OSError, match="else"):
        fail()
    assert books._rows("SELECT * FROM page") == []
    with books._transaction() as connection:
        connection.execute("INSERT INTO page VALUES (2)")
        assert books._rows("SELECT * FROM page") == [(2,)]  # one connection, one transaction
    assert books._rows("SELECT * FROM page") == [(2,)]


def test_what_sqlite_rolled_back_itself_is_not_rolled_back_again(books: Books) -> None:
    """The owner's words say what failed first, not that there was no transaction."""

    def fail() -> None:
        with books._transaction():
            books._rows("INSERT INTO page VALUES (1)")
            books._rows("INSERT OR ROLLBACK INTO page VALUES (1)")

    with pytest.raises(CAError, match="books: UNIQUE"):
        fail()
    assert books._rows("SELECT * FROM page") == []


def test_only_its_user_reads_it_and_each_commit_is_on_the_disk(books: Books) -> None:
    """Mode 0600; WAL, synchronous=FULL."""
    assert books.path.stat().st_mode & 0o777 == 0o600
    assert books._rows("PRAGMA journal_mode") == [("wal",)]
    assert books._rows("PRAGMA synchronous") == [(2,)]


@pytest.mark.parametrize("content", [b"nonsense" * 500, None])
def test_one_that_cannot_be_opened_is_let_go(tmp_path: Path, content: bytes | None) -> None:
    """No descriptor stays behind."""
    path = tmp_path / "books.sqlite"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with pytest.raises(CAError, match="books: ") as raised:
            Books(path)
        assert isinstance(raised.value.__cause__, sqlite3.Error)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_missing_column_is_no_matter_of_owners() -> None:
    """Such a file is of another version; its user and its disk are as they should be."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE delivery (receiver TEXT)")
        with pytest.raises(sqlite3.OperationalError) as failed:
            connection.execute("SELECT delivery.assigned_to FROM delivery")
    assert remedy_of(failed.value, "alerts") == (
        "no such column: delivery.assigned_to; another version of Crewgate may have written it"
    )
