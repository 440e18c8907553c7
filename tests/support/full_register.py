"""The CA's books, or its list, on a disk that takes nothing, and still can be read."""

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from crewgate.runtime import durable_files
from crewgate.runtime.base_sqlite_store import BaseSQLiteStore


@contextmanager
def full_books(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As long as this lasts, the disk is full."""

    @contextmanager
    def transaction(self: BaseSQLiteStore) -> Iterator[sqlite3.Connection]:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise self._failed(error)
        yield

    with monkeypatch.context() as patch:
        patch.setattr(BaseSQLiteStore, "_transaction", transaction)
        yield


@contextmanager
def full_list(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As long as this lasts, the disk of the list of the revoked is full."""
    write_file = durable_files.write_file

    def write(path: Path, *given: Any, **named: Any) -> None:
        if path.name == "crl.pem":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write_file(path, *given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(durable_files, "write_file", write)
        yield
