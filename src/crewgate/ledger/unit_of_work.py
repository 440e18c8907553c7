"""Reads what some operations touch into a `LedgerState`, and writes back what changed there.

`MemoryLedger` decides on that state; nothing is decided here. One transaction at a time writes the
accounts and leases of a crew (`SQLSession.lock`), so its totals are exact.
"""

from collections.abc import Iterable, Sequence

from crewgate.core.budget.account import TicketOf
from crewgate.core.budget.ledger_protocol import CloseBranch, OpenBranches, Operation
from crewgate.core.budget.ledger_state import LeaseHolder, LedgerState
from crewgate.ledger.rows import (
    ACCOUNT,
    LEASE,
    account_of,
    account_row,
    lease_of,
    lease_row,
    split,
    upsert,
)
from crewgate.ledger.sql_session import Row, SQLSession, among

_WRITE_ACCOUNT = upsert("account", ACCOUNT, "key")
_WRITE_LEASE = upsert("lease", LEASE, "branch, holder, boot")
_WRITE_HOLDER = upsert("holder", "name, boot, beat", "name")
_WRITE_REPLACED = "INSERT INTO replaced VALUES (?, ?) ON CONFLICT DO NOTHING"
_WRITE_CLOSED = "INSERT INTO closed VALUES (?) ON CONFLICT DO NOTHING"
_WRITE_TICKET = (
    "INSERT INTO ticket (level, branch, holder, boot, need, asked) VALUES (?, ?, ?, ?, ?, ?)"
)
_THIS_TICKET = "WHERE level = ? AND branch = ? AND holder = ? AND boot = ?"
_MOVE_TICKET = f"UPDATE ticket SET need = ?, asked = ? {_THIS_TICKET}"
_DROP_TICKET = f"DELETE FROM ticket {_THIS_TICKET}"
_READ_TICKETS = (
    "SELECT place, level, branch, holder, boot, need, asked FROM ticket WHERE level IN ({keys})"
)
READ_ACCOUNTS = f"SELECT {ACCOUNT} FROM account WHERE key IN ({{keys}})"
_READ_LEASES = f"SELECT {LEASE} FROM lease WHERE holder = ? AND branch IN ({{keys}})"
_READ_HOLDERS = "SELECT name, boot, beat FROM holder WHERE name IN ({keys})"
_READ_REPLACED = "SELECT holder, boot FROM replaced WHERE holder IN ({keys})"
READ_CLOSED = "SELECT key FROM closed WHERE key IN ({keys})"
_Tickets = dict[bytes, dict[TicketOf, tuple[int, float]]]


class UnitOfWork:
    """One unit of work in a transaction of `session`: load, change `state`, store."""

    def __init__(self, session: SQLSession) -> None:
        self._session = session
        self.state = LedgerState()
        self._accounts: dict[bytes, Row] = {}
        self._leases: dict[tuple[bytes, str, bytes], Row] = {}
        self._holders: set[Row] = set()
        self._replaced: set[Row] = set()
        self._closed: frozenset[bytes] = frozenset()
        self._tickets: _Tickets = {}

    def load(self, operations: Sequence[Operation]) -> None:
        """Load everything that these operations may read or change."""
        lessees = {
            (each.holder, each.boot) for each in operations if not isinstance(each, CloseBranch)
        }
        self._load_holders({name for name, _ in lessees})
        branches = self._branches(operations)
        for name, boot in lessees:
            known = self.state.holders.get(name)
            if known is not None and known.boot != boot and boot not in known.replaced:
                branches |= self._held(name)
        openings = [each for each in operations if isinstance(each, OpenBranches)]
        opened = {key for each in openings for key in each.path.keys}
        # A known level has its own path, whatever path an opening names for it.
        paths = self._paths(branches | opened)
        crews = {each.path.crew for each in openings}
        besides = [key for each in openings for key in each.besides]
        self._load(paths, {name for name, _ in lessees}, [*besides, *opened], crews)

    def load_holder(self, name: str) -> None:
        """Load all that one holder has drawn in its newest boot."""
        self._load_holders({name})
        if name in self.state.holders:
            self._load(self._paths(self._held(name)), {name})
            # Read the holder again, now that the crews are locked.
            self._load_holders({name})

    def load_branch(self, branch: bytes) -> None:
        """Load one branch, and what all holders have drawn for it."""
        found = self._session.rows("SELECT DISTINCT holder FROM lease WHERE branch = ?", (branch,))
        holders = {name for (name,) in found}
        self._load_holders(holders)
        self._load(self._paths({branch}), holders)

    def store(self) -> None:
        """Write back what changed since it was loaded."""
        session, state = self._session, self.state
        rows = [account_row(account) for account in state.accounts.values()]
        session.write(_WRITE_ACCOUNT, [row for row in rows if self._accounts.get(row[0]) != row])
        session.write(_WRITE_LEASE, [
            row
            for account in state.accounts.values()
            for (holder, boot), lease in account.leases.items()
            if (row := lease_row(account.key, holder, boot, lease))
            != self._leases.get((account.key, holder, boot))
        ])  # fmt: skip
        rows = [(name, holder.boot, holder.heartbeat) for name, holder in state.holders.items()]
        session.write(_WRITE_HOLDER, [row for row in rows if row not in self._holders])
        session.write(_WRITE_REPLACED, [
            (name, boot)
            for name, holder in state.holders.items()
            for boot in holder.replaced
            if (name, boot) not in self._replaced
        ])  # fmt: skip
        session.write(_WRITE_CLOSED, [(key,) for key in state.closed - self._closed])
        self._store_tickets()

    def _store_tickets(self) -> None:
        for level, account in self.state.accounts.items():
            before, after = self._tickets.get(level, {}), account.queue.waiting
            if before == after:
                continue
            gone = [(level, *ticket) for ticket in before if ticket not in after]
            self._session.write(_DROP_TICKET, gone)
            self._session.write(_MOVE_TICKET, [
                (*asked, level, *ticket)
                for ticket, asked in after.items()
                if ticket in before and before[ticket] != asked
            ])  # fmt: skip
            self._session.write(_WRITE_TICKET, [
                (level, *ticket, *asked) for ticket, asked in after.items() if ticket not in before
            ])  # fmt: skip

    def _branches(self, operations: Sequence[Operation]) -> set[bytes]:
        return {
            each.branch for each in operations if not isinstance(each, OpenBranches | CloseBranch)
        }

    def _paths(self, branches: set[bytes]) -> dict[bytes, tuple[bytes, ...]]:
        """Return the path of each known branch, with the branch itself last."""
        found = among(
            self._session, "SELECT key, path FROM account WHERE key IN ({keys})", sorted(branches)
        )
        return {key: (*split(path), key) for key, path in found}

    def _held(self, name: str) -> set[bytes]:
        boot = self.state.holders[name].boot
        found = self._session.rows(
            "SELECT branch FROM lease WHERE holder = ? AND boot = ?", (name, boot)
        )
        return {branch for (branch,) in found}

    def _load_holders(self, names: set[str]) -> None:
        session, state = self._session, self.state
        self._holders = set(among(session, _READ_HOLDERS, sorted(names)))
        state.holders.update((name, LeaseHolder(boot, beat)) for name, boot, beat in self._holders)
        self._replaced = set(among(session, _READ_REPLACED, sorted(state.holders)))
        for name, boot in self._replaced:
            state.holders[name].replaced.add(boot)

    def _load(
        self,
        paths: dict[bytes, tuple[bytes, ...]],
        holders: set[str],
        more: Sequence[bytes] = (),
        crews: Iterable[bytes] = (),
    ) -> None:
        session, state = self._session, self.state
        session.lock(sorted({path[0] for path in paths.values()} | set(crews)))
        levels = sorted({key for path in paths.values() for key in path} | set(more))
        for row in among(session, READ_ACCOUNTS, levels):
            state.accounts[row[0]] = account_of(row)
            self._accounts[row[0]] = row
        branches = sorted(paths.keys() & state.accounts.keys())
        for name in sorted(holders):
            for row in among(session, _READ_LEASES, branches, name):
                branch, holder, boot = row[:3]
                state.accounts[branch].leases[holder, boot] = lease_of(row)
                self._leases[branch, holder, boot] = row
        closed = among(session, READ_CLOSED, levels)
        state.closed.update(key for (key,) in closed)
        self._closed = frozenset(state.closed)
        tickets = sorted(among(session, _READ_TICKETS, levels))
        for _, level, branch, holder, boot, need, asked in tickets:
            ticket = branch, holder, boot
            state.accounts[level].queue.waiting[ticket] = need, asked
            self._tickets.setdefault(level, {})[ticket] = need, asked
