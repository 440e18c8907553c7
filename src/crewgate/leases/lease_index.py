"""An index of the table's records in its owner's memory, by key and by level; decides nothing.

Only the owner writes grants and returns to the table, so it knows them without reading the table.
A recall looks only at the leases below one level, and not at a quarter of a million records.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from crewgate import limits
from crewgate._native.records import BranchRecord


@dataclass(slots=True)
class LeaseRecord:
    """The owner's copy of one record: of a crew (empty `path`) or of a branch.

    Credit is in micro-credits, in totals of this table:

    - `spent` and `burned` are as of the last scan of the record.
    - `overrun` is the cost that tools stated beyond the reservations of their calls.
    - `overdrawn` is the part of `granted` that the ledger does not know (`outage_overdraft`).
    - `withheld` is the part of `given_back` that the ledger does not know while `overdrawn` is
      above 0.
    - `reported` is the (spent, reserved, burned) that the ledger has from this machine.
    - `seen` is the (granted, available) of the last scan, and `seen_ns` when a scan saw it first
      (boot clock).
    - `draw_max` is the largest amount that the draw under way may bring; 0 without one.

    `drawn_ns` (boot clock), `consumed` and `recent` are the state of `rate` at the last draw.
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
    withheld: int = 0
    draw_max: int = 0
    reported: tuple[int, int, int] = (0, 0, 0)
    seen: tuple[int, int] = (0, 0)
    seen_ns: int = 0
    drawn_ns: int = 0
    consumed: int = 0
    recent: float = 0.0

    def lasts(self, available: int) -> float:
        """Return the seconds until half of `available` is spent at the recent rate.

        inf if the branch spends less than one micro-credit per second.
        """
        rate = self.recent * limits.lease_rate_divisor
        return available / 2 / rate if rate >= 1 else math.inf

    @property
    def debt(self) -> int:
        """The overdrawn credit that was not taken out of the lease again."""
        return max(0, self.overdrawn - self.withheld)

    @property
    def leased(self) -> int:
        """The granted credit that was not given back."""
        return self.granted - self.given_back

    def rate(self, available: int, now_boot_ns: int) -> int:
        """Return the recent spending in micro-credits per second, and begin the next measurement.

        Call it at each draw. It averages over an exponential window as long as a lease should last
        (1 / `limits.lease_rate_divisor` seconds), and spreads what was spent between two draws
        evenly. So two calls in a burst do not count as a thousand per second: a machine that
        crashes holds no more than it has just spent.
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
    """All records of one table by key, and by level those that may hold credit.

    `highest` is the highest record number that was ever used. `overdrawn` and `debt` are the sums
    over all records.
    """

    def __init__(self) -> None:
        self._by_key: dict[bytes, LeaseRecord] = {}
        self._leases: dict[bytes, dict[bytes, LeaseRecord]] = {}
        self.highest = -1
        self.overdrawn = 0
        self.debt = 0

    def __len__(self) -> int:
        return len(self._by_key)

    def __iter__(self) -> Iterator[LeaseRecord]:
        return iter(self._by_key.values())

    def __getitem__(self, key: bytes) -> LeaseRecord:
        return self._by_key[key]

    def get(self, key: bytes) -> LeaseRecord | None:
        """Return the record of a branch or crew; None if it has none."""
        return self._by_key.get(key)

    def add(self, record: LeaseRecord) -> None:
        """Add a record that was made or found in the table."""
        self._by_key[record.key] = record
        self.highest = max(self.highest, record.number)

    def remove(self, key: bytes) -> LeaseRecord | None:
        """Remove a record that the table has reclaimed, and return it."""
        record = self._by_key.pop(key, None)
        if record is not None:
            self.set_overdrawn(record, 0, 0)
            self.rest(record, ended=True)
            self._leases.pop(key, None)
        return record

    def set_overdrawn(self, record: LeaseRecord, overdrawn: int, withheld: int) -> None:
        """Set how much granted and how much returned credit of a record the ledger does not know.

        Keeps the sums of the index exact.
        """
        self.overdrawn -= record.overdrawn
        self.debt -= record.debt
        record.overdrawn, record.withheld = overdrawn, withheld
        self.overdrawn += record.overdrawn
        self.debt += record.debt

    def lease(self, record: LeaseRecord) -> None:
        """Note that a branch may hold credit from now on."""
        for level in (*record.path, record.key):
            self._leases.setdefault(level, {})[record.key] = record

    def rest(self, record: LeaseRecord, *, ended: bool) -> None:
        """Note that a branch holds nothing: no idle credit and no reserved credit.

        A charged call can still be refunded while its grant lives. So until the grant has `ended`,
        a recall at the branch or at a branch above it still finds the record; only a recall of the
        whole crew passes it by.
        """
        levels = (*record.path, record.key) if ended else record.path[:1]
        for level in levels:
            leases = self._leases.get(level, {})
            leases.pop(record.key, None)
            if not leases:
                self._leases.pop(level, None)

    def leases_below(self, level: bytes) -> list[LeaseRecord]:
        """Return the branches at and below `level` that may hold credit."""
        return list(self._leases.get(level, {}).values())


def lease_record_of(record: BranchRecord, path: tuple[bytes, ...]) -> LeaseRecord:
    """Return the owner's copy of a record that was in the table when the owner started."""
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
