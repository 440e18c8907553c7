"""What the owner of a table knows of its records without reading them: it alone writes these.

Decides nothing. Finds records by key, and the leases below a level, so that a recall looks at
those only and not at a quarter of a million records.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from crewgate import limits
from crewgate._native.records import BranchRecord


@dataclass(slots=True)
class LeaseRecord:
    """One record: a crew's (no path) or a branch's. Credit is micro-credits, totals of the table.

    `spent` and `burned` are as last looked at, `overrun` what answers stated beyond their bounds,
    `owed` what of `granted` the ledger does not know (`overdraft`), `kept` what of `given_back` it
    is not told before that; `told` is what it was told last. `asked` is the most that a draw under
    way may bring. `drawn_ns` and `consumed` are the boot clock and the consumption at the last
    draw, `recent` what was spent lately as seen then: the rate's beginning.
    """

    number: int
    key: bytes
    path: tuple[bytes, ...]
    quota: int
    iat: int
    expires: int
    closed: bool = False
    granted: int = 0
    given_back: int = 0
    spent: int = 0
    burned: int = 0
    overrun: int = 0
    overdrawn: int = 0
    kept: int = 0
    asked: int = 0
    told: tuple[int, int, int] = (0, 0, 0)
    seen: tuple[int, int] = (0, 0)
    drawn_ns: int = 0
    consumed: int = 0
    recent: float = 0.0

    def lasts(self, available: int) -> float:
        """Seconds until half of what is available is spent, as it was spent of late; inf if not."""
        rate = self.recent * limits.lease_rate_divisor
        return available / 2 / rate if rate >= 1 else math.inf

    @property
    def debt(self) -> int:
        """What is owed and was not taken out of the lease again."""
        return max(0, self.overdrawn - self.kept)

    @property
    def leased(self) -> int:
        """Granted and not given back."""
        return self.granted - self.given_back

    def rate(self, available: int, now_boot_ns: int) -> int:
        """Micro-credits a second consumed of late; begins the next measurement.

        Of late is an exponential window as long as a lease is to last, over which what was spent
        between two draws is spread evenly. A burst of two calls is not a thousand a second: what a
        machine holds when it crashes is no more than what it has just spent.
        """
        consumed, windows = self.leased - available, 0.0
        if self.drawn_ns:
            windows = max(0, now_boot_ns - self.drawn_ns) * limits.lease_rate_divisor / 1e9
        spent = max(0, consumed - self.consumed) if self.drawn_ns else 0
        share = -math.expm1(-windows) / windows if windows else 1.0
        self.recent = self.recent * math.exp(-windows) + spent * share
        self.drawn_ns, self.consumed = now_boot_ns, consumed
        return int(self.recent * limits.lease_rate_divisor)


class LeaseIndex:
    """All records of one table by key, and which of them may hold a lease, by level."""

    def __init__(self) -> None:
        self._by_key: dict[bytes, LeaseRecord] = {}
        self._leases: dict[bytes, dict[bytes, LeaseRecord]] = {}
        self.highest = -1  # the highest record number that was ever used
        self.overdrawn = 0  # of all together
        self.debt = 0

    def __len__(self) -> int:
        return len(self._by_key)

    def __iter__(self) -> Iterator[LeaseRecord]:
        return iter(self._by_key.values())

    def get(self, key: bytes) -> LeaseRecord | None:
        """The record of a branch or crew."""
        return self._by_key.get(key)

    def add(self, record: LeaseRecord) -> None:
        """A record was made, or found."""
        self._by_key[record.key] = record
        self.highest = max(self.highest, record.number)

    def remove(self, key: bytes) -> LeaseRecord | None:
        """The record was reclaimed."""
        record = self._by_key.pop(key, None)
        if record is not None:
            self.set_overdrawn(record, 0, 0)
            self.rest(record, ended=True)
            self._leases.pop(key, None)
        return record

    def set_overdrawn(self, record: LeaseRecord, owed: int, kept: int) -> None:
        """The ledger does not know so much that was granted, and so much that was given back."""
        self.overdrawn -= record.overdrawn
        self.debt -= record.debt
        record.overdrawn, record.kept = owed, kept
        self.overdrawn += record.overdrawn
        self.debt += record.debt

    def lease(self, record: LeaseRecord) -> None:
        """The branch may hold credit from now on."""
        for level in (*record.path, record.key):
            self._leases.setdefault(level, {})[record.key] = record

    def rest(self, record: LeaseRecord, *, ended: bool) -> None:
        """The branch was seen to hold nothing, neither idle nor reserved.

        A call that was charged can still be refunded while its grant lives: until it has `ended`
        a recall of the branch's own tree looks there, and only one of the whole crew does not.
        """
        levels = (*record.path, record.key) if ended else record.path[:1]
        for level in levels:
            leases = self._leases.get(level, {})
            leases.pop(record.key, None)
            if not leases:
                self._leases.pop(level, None)

    def leases_below(self, level: bytes) -> list[LeaseRecord]:
        """Branches at and below `level` that may hold credit."""
        return list(self._leases.get(level, {}).values())


def holding_of(record: BranchRecord, path: tuple[bytes, ...]) -> LeaseRecord:
    """A record that was there when its owner began."""
    return LeaseRecord(
        record.number,
        record.key,
        path,
        record.quota,
        record.quota_iat,
        record.expires,
        record.closed,
        record.granted,
        record.given_back,
        record.settled,
        record.burned,
    )
