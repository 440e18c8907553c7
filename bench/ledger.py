"""What a draw costs: alone in its transaction and with many others, beside a bare commit.

PostgreSQL is measured where `CREWGATE_BENCH_POSTGRESQL` names an empty database that may be used.
"""

import itertools
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from bench.sampling import Case, Group, measure
from crewgate.core import ids
from crewgate.core.budget.ledger_protocol import BranchPath as Line
from crewgate.core.budget.ledger_protocol import (
    BranchPathLevel,
    CrewDrawLimits,
    DrawGranted,
    DrawLease,
    OpenBranches,
)
from crewgate.ledger import schema
from crewgate.ledger.postgresql_session import PostgreSQLSession
from crewgate.ledger.sql import SQLLedger
from crewgate.ledger.sql_session import SQLSession
from crewgate.ledger.sqlite_session import SQLiteSession

BRANCHES = 64
ACTIVE = 10_000  # branches that hold a lease at once
ALONE = 8  # draws of a batch that has each in a transaction of its own
BOOT, HOLDER, NOW = b"b" * 16, "bench", 1_800_000_000.0
URL = os.environ.get("CREWGATE_BENCH_POSTGRESQL", "")
PLENTY = 2**50


def draws(rounds: int) -> Group:
    """Of each engine: a commit of one row, a draw alone, and one of 64 together."""
    cases: list[Case] = []
    reference: dict[str, str] = {}
    with _sessions() as sessions:
        for name, session in sessions.items():
            bare, *ours = _cases(name, session)
            cases += [bare, *ours]
            reference |= dict.fromkeys((case.name for case in ours), bare.name)
        return measure("A draw from the ledger", cases, max(2, rounds // 10), reference)


@contextmanager
def _sessions() -> Iterator[dict[str, SQLSession]]:
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        sessions: dict[str, SQLSession] = {"SQLite": SQLiteSession(Path(folder) / "ledger.db")}
        if URL:
            sessions["PostgreSQL"] = PostgreSQLSession(URL)
        try:
            yield sessions
        finally:
            for session in sessions.values():
                session.close()


def _cases(name: str, session: SQLSession) -> list[Case]:
    schema.migrate(session)
    ledger = SQLLedger(session)
    root, crew = ids.crew_key("root"), ids.crew_key("bench")
    branches = [ids.crew_key(f"branch-{number}") for number in range(BRANCHES)]
    for branch in branches:
        levels = BranchPathLevel(root, PLENTY, 1), BranchPathLevel(branch, PLENTY, 1)
        ledger.do(OpenBranches(Line(crew, CrewDrawLimits(), levels), HOLDER, BOOT), 0.0)
    numbers = itertools.count(1)
    session.rows("CREATE TABLE IF NOT EXISTS bare (number BIGINT)")

    def bare() -> int:
        for _ in range(ALONE):
            with session.transaction():
                session.rows("INSERT INTO bare VALUES (?)", (1,))
        return ALONE

    def alone() -> int:
        for _ in range(ALONE):
            _granted(ledger, [DrawLease(branches[0], HOLDER, BOOT, next(numbers), 1)])
        return ALONE

    def together() -> int:
        seq = next(numbers)
        _granted(ledger, [DrawLease(branch, HOLDER, BOOT, seq, 1) for branch in branches])
        return BRANCHES

    active = _active(ledger, crew, root)
    turns = itertools.cycle(range(0, ACTIVE, BRANCHES))

    def among_many() -> int:
        at = next(turns)
        some = list(islice(active.items(), at, at + BRANCHES))
        _granted(ledger, [DrawLease(branch, HOLDER, BOOT, seq + 1, 1) for branch, seq in some])
        active.update((branch, seq + 1) for branch, seq in some)
        return len(some)

    return [
        Case(f"{name}: a commit of one row", bare),
        Case(f"{name}: a draw in a transaction", alone),
        Case(f"{name}: a draw among {BRANCHES} in one", together),
        Case(f"{name}: {BRANCHES} of {ACTIVE:,} leases in one", among_many),
    ]


def _active(ledger: SQLLedger, crew: bytes, root: bytes) -> dict[bytes, int]:
    """Branches that hold a lease each, with the number of their last draw."""
    active = {ids.crew_key(f"active-{number}"): 0 for number in range(ACTIVE)}
    keys = list(active)
    for at in range(0, ACTIVE, 256):
        some = keys[at : at + 256]
        paths = [(BranchPathLevel(root, PLENTY, 1), BranchPathLevel(key, 10**6, 1)) for key in some]
        lines = [Line(crew, CrewDrawLimits(), path) for path in paths]
        ledger.do_all([OpenBranches(line, HOLDER, BOOT, need=1) for line in lines], NOW)
    return dict.fromkeys(active, 1)


def _granted(ledger: SQLLedger, asked: list[DrawLease]) -> None:
    answers = ledger.do_all(asked, NOW)
    if not all(isinstance(answer, DrawGranted) for answer in answers):
        raise RuntimeError(f"not granted: {answers}")
