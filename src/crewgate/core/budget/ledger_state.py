"""The state that a ledger decides on: accounts, holders and closed keys.

A ledger in memory keeps all of its state here. A ledger in a database loads what an operation
touches, lets `MemoryLedger` decide on it, and writes back what changed.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from crewgate.core.budget.account import Account
from crewgate.core.budget.ledger_lease import CreditTotals


@dataclass(slots=True)
class LeaseHolder:
    """A machine in the ledger.

    `boot` may draw; the boots in `replaced` may not draw again. `heartbeat` counts the draws,
    returns, reports and heartbeats of the machine.
    """

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
        """Return the accounts above, the crew first, and the account itself last."""
        return [*(self.accounts[key] for key in account.path), account]

    def closed_of(self, keys: Iterable[bytes]) -> bytes | None:
        """Return the first of `keys` that is closed; None if none is."""
        return next((key for key in keys if key in self.closed), None)

    def count(self, account: Account, before: CreditTotals, after: CreditTotals) -> None:
        """Replace `before` by `after` in the totals of the account and of every level above."""
        for level in self.levels(account):
            level.totals = level.totals.changed(before, after)
