"""The `Ledger` protocol in a database: any number of operations in one transaction.

What is granted and refused is decided by `core.accounts`, the in-memory model, on what a `Unit` has
read; so no engine decides for itself. Blocks: for one thread at a time.
"""

from collections.abc import Sequence
from typing import cast

from crewgate.core.accounts import MemoryLedger
from crewgate.core.ledger import (
    Answer,
    Close,
    Closed,
    Draw,
    Exhausted,
    GiveBack,
    Granted,
    Mismatch,
    Open,
    Opened,
    Operation,
    Settle,
    Statement,
    Ticket,
)
from crewgate.core.statements import statement
from crewgate.errors import LedgerError
from crewgate.ledger import schema
from crewgate.ledger.rows import ACCOUNT, account_of
from crewgate.ledger.session import Session
from crewgate.ledger.unit import Unit


class SQLLedger:
    """A ledger in the database of `session`, whose tables are up to date (`schema`)."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.identity = schema.identity(session)

    def __repr__(self) -> str:
        return f"<SQLLedger {self.identity[:8]} {self._session!r}>"

    def do_all(self, operations: Sequence[Operation], now: float) -> list[Answer | LedgerError]:
        """Everything in order, and on the disk; an error of one is its answer.

        LedgerUnavailableError: nobody knows whether it was done. Ask again: it is done once.
        """
        with self._session.transaction():
            unit = Unit(self._session)
            unit.load(operations)
            ledger = MemoryLedger(unit.books)
            answers = [_answer(ledger, operation, now) for operation in operations]
            unit.store()
        return answers

    def open(self, asked: Open) -> Opened | Mismatch | Closed:
        """See `Ledger`."""
        return cast("Opened | Mismatch | Closed", self._do(asked))

    def draw(self, draw: Draw, now: float) -> Granted | Ticket | Exhausted | Closed:
        """See `Ledger`."""
        return cast("Granted | Ticket | Exhausted | Closed", self._do(draw, now))

    def give_back(self, given: GiveBack) -> None:
        """See `Ledger`."""
        self._do(given)

    def settle(self, settle: Settle) -> None:
        """See `Ledger`."""
        self._do(settle)

    def close(self, key: bytes) -> None:
        """See `Ledger`."""
        self._do(Close(key))

    def report(self, below: bytes | None = None) -> tuple[Statement, ...]:
        """See `Ledger`."""
        session = self._session
        chosen, values = "", ()  # type: str, tuple[bytes, ...]
        if below is not None:
            chosen, values = f"WHERE key = ? OR {session.dialect['within']} ", (below, below)
        with session.transaction():
            rows = session.rows(
                f"SELECT {ACCOUNT} FROM account {chosen}ORDER BY length(path), key", values
            )
            closed = {key for (key,) in session.rows("SELECT key FROM closed")}
        return tuple(statement(account_of(row), closed=row[0] in closed) for row in rows)

    def beats(self) -> dict[str, tuple[bytes, int]]:
        """Of each holder its boot, and how often it has said that it lives."""
        found = self._session.rows("SELECT name, boot, beat FROM holder")
        return {name: (boot, beat) for name, boot, beat in found}

    def beat(self, holder: str, boot: bytes) -> None:
        """Say that a holder lives, though it asks for nothing."""
        self._session.rows(
            "UPDATE holder SET beat = beat + 1 WHERE name = ? AND boot = ?", (holder, boot)
        )

    def burn(self, holder: str, boot: bytes, beat: int) -> int:
        """Write off what it has, unless it was heard since `beat`; how much that was."""
        with self._session.transaction():
            unit = Unit(self._session)
            unit.load_holder(holder)
            lost = MemoryLedger(unit.books).burn(holder, boot, beat)
            unit.store()
        return lost

    def close_session(self) -> None:
        """Let go of the database."""
        self._session.close()

    def _do(self, operation: Operation, now: float = 0.0) -> Answer:
        answer = self.do_all([operation], now)[0]
        if isinstance(answer, LedgerError):
            raise answer
        return answer


def _answer(ledger: MemoryLedger, operation: Operation, now: float) -> Answer | LedgerError:
    try:
        return ledger.do(operation, now)
    except LedgerError as error:
        return error
