"""Does a story of operations on a ledger, and is killed just before its so-manieth statement.

`killed_ledger.py ENGINE WHERE`: forks a child for each place to be killed at, looks what it left,
has another life go on with what had no answer yet, as an agent does, and prints what was found as
JSON. It is also killed before each COMMIT, and after it, before it can tell that it was done.
"""

import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from account_family import BOOT, NEXT_BOOT, NOW, ROOT, A, B, path

from crewgate.core.budget.ledger_protocol import (
    BranchPathLevel,
    CloseBranch,
    DrawLease,
    Operation,
    ReportLeaseUsage,
    ReturnCredit,
)
from crewgate.ledger import schema
from crewgate.ledger.consistency import findings
from crewgate.ledger.sql import SQLLedger
from crewgate.ledger.sql_session import SQLSession
from crewgate.ledger.sqlite_session import SQLiteSession

TABLES = ("ticket", "lease", "closed", "replaced", "holder", "account")
LEVELS = BranchPathLevel(ROOT, 100, 1)
STORY: list[list[Operation]] = [
    [path(LEVELS, BranchPathLevel(A, 100, 1))],
    [path(LEVELS, BranchPathLevel(B, 50, 1)), DrawLease(A, "one", BOOT, 1, 60)],
    [ReportLeaseUsage(A, "one", BOOT, 1, 20, reserved=5), ReturnCredit(A, "one", BOOT, 10)],
    [DrawLease(B, "two", BOOT, 1, 50)],
    [DrawLease(B, "two", BOOT, 2, 90), DrawLease(A, "one", BOOT, 2, 3)],
    [path(LEVELS, BranchPathLevel(B, 40, 2))],
    [DrawLease(A, "one", NEXT_BOOT, 1, 7)],
    [CloseBranch(A), DrawLease(A, "one", NEXT_BOOT, 2, 1), ReturnCredit(A, "one", NEXT_BOOT, 7)],
]


class Fragile:
    """A session that ends the process instead of doing its so-manieth statement."""

    def __init__(self, session: Any, left: int) -> None:
        self._session = session
        self._left = left
        self.dialect = session.dialect

    def _step(self) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    @contextmanager
    def transaction(self, *, is_durable: bool = True) -> Iterator[None]:
        with self._session.transaction(is_durable=is_durable):
            yield
            self._step()  # all is said, and nothing committed
        self._step()  # committed, and nobody knows

    def rows(self, *arguments: Any) -> Any:
        self._step()
        return self._session.rows(*arguments)

    def write(self, statement: str, rows: Sequence[Any]) -> None:
        for row in rows:
            self._step()
            self._session.write(statement, [row])

    def lock(self, crews: Sequence[bytes]) -> None:
        self._step()
        self._session.lock(crews)

    def expect(self, identity: str, counts: Mapping[str, int]) -> None:
        self._session.expect(identity, counts)

    def publish(self, news: Sequence[str]) -> None:
        self._session.publish(news)


def connect(engine: str, where: str) -> SQLSession:
    """A connection of this process."""
    if engine == "sqlite":
        return SQLiteSession(Path(where))
    from crewgate.ledger.postgresql_session import PostgreSQLSession  # noqa: PLC0415 - the other needs no driver

    return PostgreSQLSession(where)


def tell(ledger: SQLLedger, done: int = 0, answered: int = -1) -> list[list[str]]:
    """The story after `done` batches; what each was answered, a byte to `answered` for each."""
    answers = []
    for batch in STORY[done:]:
        answers.append([repr(answer) for answer in ledger.do_all(batch, NOW)])
        if answered >= 0:
            os.write(answered, b".")
    return answers


def books(ledger: SQLLedger) -> list[str]:
    return [repr(statement) for statement in ledger.report()]


def killed_at(engine: str, where: str, place: int) -> tuple[bool, int]:
    """Whether a child was killed before the end of the story, and how many batches it had done."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        session = connect(engine, where)
        tell(SQLLedger(Fragile(session, place)), answered=writing)  # type: ignore[arg-type]
        os._exit(0)
    os.close(writing)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reading, "rb") as pipe:
        done = len(pipe.read())
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, status
    assert not os.WIFSIGNALED(status) or os.WTERMSIG(status) == signal.SIGKILL, status
    return os.WIFSIGNALED(status), done


def empty(session: SQLSession) -> None:
    with session.transaction():
        for table in TABLES:
            session.rows(f"DELETE FROM {table}")


def main() -> None:
    engine, where = sys.argv[1:]
    session = connect(engine, where)
    schema.migrate(session)
    ledger = SQLLedger(session)
    answers = tell(ledger)
    told = books(ledger)
    session.close()
    places, troubles = 0, []
    is_over = False
    while not is_over:
        places += 1
        session = connect(engine, where)
        empty(session)
        session.close()
        is_killed, done = killed_at(engine, where, places)
        is_over = not is_killed
        session = connect(engine, where)
        ledger = SQLLedger(session)
        troubles += [f"{places}: {each}" for each in findings(session)]
        if tell(ledger, done) != answers[done:]:
            troubles.append(f"{places}: other answers after {done} batches")
        if books(ledger) != told:
            troubles.append(f"{places}: another end of the story: {books(ledger)}")
        troubles += [f"{places}, in the end: {each}" for each in findings(session)]
        session.close()
    print(json.dumps({"places": places, "troubles": troubles}))


if __name__ == "__main__":
    main()
