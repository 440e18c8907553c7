"""What a ledger's decisions are made on: accounts, holders and what is closed.

Decides nothing. A ledger in memory has all of it in here; one in a database puts what an operation
touches in here, has it decided, and writes back what has changed.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from crewgate.core.budget.account import Account
from crewgate.core.budget.lease import LeaseTotals


@dataclass(slots=True)
class LeaseHolder:
    """A machine: the boot that may draw, those that may not any more, how often it was heard."""

    boot: bytes
    heartbeat: int = 0
    replaced: set[bytes] = field(default_factory=set)


@dataclass(slots=True)
class LedgerState:
    """Accounts by key, holders by name, and the keys that are closed for good."""

    accounts: dict[bytes, Account] = field(default_factory=dict)
    holders: dict[str, LeaseHolder] = field(default_factory=dict)
    closed: set[bytes] = field(default_factory=set)

    def levels(self, account: Account) -> list[Account]:
        """The account's ancestors, the crew first, and itself last."""
        return [*(self.accounts[key] for key in account.path), account]

    def closed_of(self, keys: Iterable[bytes]) -> bytes | None:
        """The first of these that is closed."""
        return next((key for key in keys if key in self.closed), None)

    def count(self, account: Account, before: LeaseTotals, after: LeaseTotals) -> None:
        """A part of what is charged to `account` and all above it went from `before` to `after`."""
        for level in self.levels(account):
            level.totals = level.totals.changed(before, after)
