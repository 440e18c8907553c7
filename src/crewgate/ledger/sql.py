"""A ledger in a database: any number of operations in one transaction.

`MemoryLedger` decides every operation, on the state that a `UnitOfWork` has read. So all engines
decide alike. Calls block; one thread uses the ledger at a time.
"""

from collections.abc import Sequence

from crewgate.core.budget.ledger_answers import lease_report, statement
from crewgate.core.budget.ledger_lease import NOTHING, CreditTotals
from crewgate.core.budget.ledger_protocol import (
    AccountStatement,
    LeaseUsage,
    OpenBranches,
    Operation,
    OperationResult,
)
from crewgate.core.budget.memory_ledger import MemoryLedger
from crewgate.errors import InvalidLedgerOperationError
from crewgate.ledger import schema
from crewgate.ledger.notifications import NotificationBuilder
from crewgate.ledger.rows import ACCOUNT, LEASE, account_of, lease_of, split
from crewgate.ledger.sql_session import SQLSession, among
from crewgate.ledger.unit_of_work import READ_ACCOUNTS, READ_CLOSED, UnitOfWork


class SQLLedger:
    """A ledger in the database of `session`, whose tables are up to date (`schema`).

    `counts` are the operations of each holder that commits of this process have acknowledged.
    """

    def __init__(self, session: SQLSession) -> None:
        self.session = session
        self.identity = schema.identity(session)
        self.counts: dict[str, int] = {}
        session.expect(self.identity, self.counts)
        self._notifier = NotificationBuilder()

    def do_all(
        self, operations: Sequence[Operation], now: float
    ) -> list[OperationResult | InvalidLedgerOperationError]:
        """Do all operations in order in one transaction; return the answers once it is on the disk.

        The answer to an operation that the protocol does not allow is an
        InvalidLedgerOperationError. After LedgerUnavailableError the transaction may or may not
        have happened; send the operations again, since each counts once.
        """
        # An opening without a need grants nothing, so it may wait for the disk: the next durable
        # transaction, such as that of the first draw, takes it to the disk too.
        is_durable = not all(
            isinstance(each, OpenBranches) and not each.need for each in operations
        )
        with self.session.transaction(is_durable=is_durable):
            unit = UnitOfWork(self.session)
            unit.load(operations)
            ledger = MemoryLedger(unit.state)
            answers = [_answer(ledger, operation, now) for operation in operations]
            unit.store()
            self.session.publish(self._notifier.of(operations, answers, unit.state, now))
        if is_durable:
            self.counts.update((name, each.heartbeat) for name, each in unit.state.holders.items())
        return answers

    def do(self, operation: Operation, now: float) -> OperationResult:
        """Do one operation; raises InvalidLedgerOperationError and LedgerUnavailableError."""
        answer = self.do_all([operation], now)[0]
        if isinstance(answer, InvalidLedgerOperationError):
            raise answer
        return answer

    def report(self, below: bytes | None = None) -> tuple[AccountStatement, ...]:
        """Return all levels, or `below` with the levels below it; ancestors come first."""
        session = self.session
        chosen, values = "", ()  # type: str, tuple[bytes, ...]
        if below is not None:
            chosen, values = f"WHERE key = ? OR {session.dialect['within']} ", (below, below)
        with session.transaction():
            rows = session.rows(
                f"SELECT {ACCOUNT} FROM account {chosen}ORDER BY length(path), key", values
            )
            closed = {key for (key,) in session.rows("SELECT key FROM closed")}
        return tuple(statement(account_of(row), closed=row[0] in closed) for row in rows)

    def statements(self, keys: Sequence[bytes]) -> dict[bytes, AccountStatement]:
        """Return the statement of each of these levels that the ledger knows."""
        closed = {key for (key,) in among(self.session, READ_CLOSED, keys)}
        rows = among(self.session, READ_ACCOUNTS, keys)
        return {row[0]: statement(account_of(row), closed=row[0] in closed) for row in rows}

    def leases(self, holder: str, boot: bytes) -> dict[bytes, LeaseUsage]:
        """See `MemoryLedger`."""
        rows = self.session.rows(
            f"SELECT {LEASE} FROM lease WHERE holder = ? AND boot = ?", (holder, boot)
        )
        return {row[0]: lease_report(lease_of(row)) for row in rows}

    def lessees(self, holder: str, boot: bytes) -> list[tuple[bytes, str, int]]:
        """Return (branch, machine, idle credit) of each lease that is not `holder`'s in `boot`.

        Leases without idle credit are left out.
        """
        rows = self.session.rows(
            f"SELECT {LEASE} FROM lease WHERE granted > given_back + spent "
            "AND NOT (holder = ? AND boot = ?)",
            (holder, boot),
        )
        found = [(row[0], row[1], lease_of(row).totals.idle) for row in rows]
        return [each for each in found if each[2]]

    def by_holder(self, crew: bytes | None = None) -> dict[str, CreditTotals]:
        """Return what each machine has drawn in all its boots, for one crew or all."""
        session, found = self.session, dict[str, CreditTotals]()
        with session.transaction():
            paths: dict[bytes, bytes] = dict(session.rows("SELECT key, path FROM account"))
            leases = session.rows(f"SELECT {LEASE} FROM lease")
        for row in leases:
            if crew in {None, *split(paths[row[0]])}:
                totals = found.get(row[1], NOTHING)
                found[row[1]] = totals.changed(NOTHING, lease_of(row).totals)
        return found

    def heartbeats(self) -> dict[str, tuple[bytes, int]]:
        """Return each holder's newest boot and its heartbeat counter (`heartbeat_monitor`)."""
        found = self.session.rows("SELECT name, boot, beat FROM holder")
        return {name: (boot, heartbeat) for name, boot, heartbeat in found}

    def heartbeat(self, holder: str, boot: bytes) -> None:
        """See `MemoryLedger`."""
        self.session.rows(
            "UPDATE holder SET beat = beat + 1 WHERE name = ? AND boot = ?", (holder, boot)
        )

    def forgive(self, branch: bytes) -> int:
        """See `MemoryLedger`."""
        with self.session.transaction():
            unit = UnitOfWork(self.session)
            unit.load_branch(branch)
            returned = MemoryLedger(unit.state).forgive(branch)
            unit.store()
        return returned

    def burn(self, holder: str, boot: bytes, heartbeat: int) -> int:
        """See `MemoryLedger`."""
        with self.session.transaction():
            unit = UnitOfWork(self.session)
            unit.load_holder(holder)
            lost = MemoryLedger(unit.state).burn(holder, boot, heartbeat)
            unit.store()
        return lost


def _answer(
    ledger: MemoryLedger, operation: Operation, now: float
) -> OperationResult | InvalidLedgerOperationError:
    try:
        return ledger.do(operation, now)
    except InvalidLedgerOperationError as error:
        return error
