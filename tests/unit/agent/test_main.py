"""An agent that cannot start says why in one line, and whether it is worth to try again."""

import errno
import os
from pathlib import Path

import apsw
import pytest

from crewgate.agent import main as agent
from crewgate.errors import ConfigurationError, LedgerUnavailableError, TableError


def full() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/state/mark")


def of_sqlite(code: int) -> apsw.Error:
    """As SQLite raises it."""
    error = apsw.exception_for(code)
    assert isinstance(error, apsw.Error)
    return error


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (full(), os.EX_TEMPFAIL, "/state/mark: No space left on device; make room"),
        (caused(TableError("no table"), full()), os.EX_TEMPFAIL, "no table"),
        *(
            (caused(LedgerUnavailableError("no room"), of_sqlite(code)), os.EX_TEMPFAIL, "no room")
            for code in (
                apsw.SQLITE_FULL,
                apsw.SQLITE_IOERR_SHMSIZE,
                apsw.SQLITE_IOERR_SHMOPEN,
                apsw.SQLITE_IOERR_SHMMAP,
                apsw.SQLITE_IOERR_WRITE,
            )
        ),
        (caused(LedgerUnavailableError("bad"), of_sqlite(apsw.SQLITE_IOERR_READ)), 2, "bad"),
        (LedgerUnavailableError("no server", may_pass=True), os.EX_TEMPFAIL, "no server"),
        (LedgerUnavailableError("a wrong password"), 2, "a wrong password"),
        (ConfigurationError("a mistake"), 2, "a mistake"),
        (PermissionError(13, "Permission denied", "/state"), 2, "/state: Permission denied; give"),
    ],
    ids=[
        "full",
        "caused by full",
        "SQLite",
        "no -shm",
        "-shm not opened",
        "-shm not mapped",
        "not written",
        "not read",
        "away",
        "password",
        "mistake",
        "rights",
    ],
)
def test_what_may_pass_is_a_status_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    status: int,
    says: str,
) -> None:
    """Of the supervisor, which waits for a server or for room, and for nothing else."""

    def run(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(agent, "run", run)
    monkeypatch.setattr(agent, "leave_no_cores", lambda: None)
    assert agent.main(["-c", str(Path("x.toml"))]) == status
    assert f" agent: {says}" in capsys.readouterr().err
