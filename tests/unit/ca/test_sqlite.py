"""The CA's books: on the disk or not at all, and every failure worded by their owner."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from crewgate.ca.sqlite import SQLiteFile
from crewgate.errors import AuthorityError


def worded(error: Exception) -> AuthorityError:
    return AuthorityError(f"books: {error}")


@pytest.fixture
def books(tmp_path: Path) -> Iterator[SQLiteFile]:
    database = SQLiteFile(tmp_path / "books.sqlite", worded)
    database.rows("CREATE TABLE page (number INTEGER PRIMARY KEY) STRICT")
    yield database
    database.close()


def test_all_of_it_or_nothing(books: SQLiteFile) -> None:
    """Also when what fails is not SQLite; and the next transaction can be made."""

    def fail() -> None:
        with books.transaction() as connection:
            connection.execute("INSERT INTO page VALUES (1)")
            raise OSError("something else")

    with pytest.raises(OSError, match="else"):
        fail()
    assert books.rows("SELECT * FROM page") == []
    with books.transaction() as connection:
        connection.execute("INSERT INTO page VALUES (2)")
        assert books.rows("SELECT * FROM page") == [(2,)]  # one connection, one transaction
    assert books.rows("SELECT * FROM page") == [(2,)]


def test_what_sqlite_rolled_back_itself_is_not_rolled_back_again(books: SQLiteFile) -> None:
    """The owner's words say what failed first, not that there was no transaction."""

    def fail() -> None:
        with books.transaction():
            books.rows("INSERT INTO page VALUES (1)")
            books.rows("INSERT OR ROLLBACK INTO page VALUES (1)")

    with pytest.raises(AuthorityError, match="books: UNIQUE"):
        fail()
    assert books.rows("SELECT * FROM page") == []


def test_only_its_user_reads_it_and_each_commit_is_on_the_disk(books: SQLiteFile) -> None:
    """Mode 0600; WAL, synchronous=FULL."""
    assert books.path.stat().st_mode & 0o777 == 0o600
    assert books.rows("PRAGMA journal_mode") == [("wal",)]
    assert books.rows("PRAGMA synchronous") == [(2,)]


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
        with pytest.raises(AuthorityError, match="books: ") as raised:
            SQLiteFile(path, worded)
        assert isinstance(raised.value.__cause__, sqlite3.Error)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
