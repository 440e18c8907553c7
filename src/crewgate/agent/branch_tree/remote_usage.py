"""What other machines and earlier tables have spent and hold of each crew and branch (a *level*).

The ledger says so.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from crewgate._native.records import BranchRecord
from crewgate.core.budget.ledger_protocol import AccountStatement, LeaseUsage, WindowUsage

_NONE = WindowUsage()


@dataclass(slots=True)
class RemoteUsage:
    """The ledger's amounts (micro-credits) of a level and all below it, without this table's.

    `where` has the idle credit by machine.
    """

    spent: int = 0
    reserved: int = 0
    burned: int = 0
    idle: int = 0
    hour: WindowUsage = _NONE
    day: WindowUsage = _NONE
    where: dict[str, int] = field(default_factory=dict)

    def and_consumed(self, record: BranchRecord) -> "RemoteUsage":
        """Return these amounts and what a record had consumed."""
        spent, burned = self.spent + record.settled, self.burned + record.burned
        return replace(self, spent=spent, burned=burned)

    def subtract(self, lease: LeaseUsage) -> None:
        """Take out the amounts of a lease of this table."""
        self.spent = max(0, self.spent - lease.spent)
        self.reserved = max(0, self.reserved - lease.reserved)
        self.burned = max(0, self.burned - lease.burned)
        self.idle = max(0, self.idle - lease.idle)


def beyond(
    statements: Mapping[bytes, AccountStatement],
    own: Mapping[bytes, LeaseUsage],
    lessees: Iterable[tuple[bytes, str, int]] = (),
) -> dict[bytes, RemoteUsage]:
    """Return what the ledger has of each level beyond this table: without its `own` leases.

    `lessees` has (branch, machine, idle credit) for each lease of another machine or table.
    """
    found = {
        key: RemoteUsage(each.settled, each.reserved, each.burned, each.leased, each.hour, each.day)
        for key, each in statements.items()
    }

    def path(key: bytes) -> list[RemoteUsage]:
        # Without a record in the table, a branch has no statement here, and its path is unknown.
        levels = (*statements[key].path, key) if key in statements else ()
        return [found[each] for each in levels if each in found]

    for key, lease in own.items():
        for level in path(key):
            level.subtract(lease)
    for key, agent, idle in lessees:
        for level in path(key):
            level.where[agent] = level.where.get(agent, 0) + idle
    return found


NOTHING = RemoteUsage()
