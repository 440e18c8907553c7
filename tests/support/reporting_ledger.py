"""A ledger in memory that reports its accounts, as those in a database do for commands."""

from collections.abc import Sequence

from crewgate.core.budget.ledger_answers import statement
from crewgate.core.budget.ledger_protocol import AccountStatement
from crewgate.core.budget.memory_ledger import MemoryLedger


class ReportingLedger(MemoryLedger):
    def report(self, below: bytes | None = None) -> tuple[AccountStatement, ...]:
        return tuple(
            statement(account, closed=account.key in self._state.closed)
            for account in self._accounts.values()
            if below is None or below == account.key or below in account.path
        )

    def statements(self, keys: Sequence[bytes]) -> dict[bytes, AccountStatement]:
        return {each.key: each for each in self.report() if each.key in keys}

    def heartbeats(self) -> dict[str, tuple[bytes, int]]:
        return {name: (holder.boot, holder.heartbeat) for name, holder in self._holders.items()}
