"""The CA's books on a disk that takes no transaction, and still can be read."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from crewgate.pki.database import Database


@contextmanager
def full_books(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As long as this lasts, the disk is full."""

    @contextmanager
    def transaction(self: Database) -> Iterator[sqlite3.Connection]:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise self._failed(error)
        yield

    with monkeypatch.context() as patch:
        patch.setattr(Database, "transaction", transaction)
        yield
