"""The slow, obvious model of the native table: branch records, leases, reservations, forgetting.

The native table is compared with it by hypothesis, and what only needs a table is tested on it.
Beside the owner's methods it has what the gate does to a record: `reserve`, `settle`, `release`.
"""

import itertools
from dataclasses import dataclass, field

from crewgate import limits
from crewgate._native.records import BranchRecord, ReclaimedBranch, TableCapacities
from crewgate.errors import TableFullError

NS = 10**9


@dataclass
class Record:
    number: int
    generation: int
    key: bytes
    parents: tuple[int, ...]
    path_digest: bytes
    quota: int = 0
    quota_iat: int = 0
    expires: int = 0
    held_from: int = 0
    held_for: int = 0
    available: int = 0
    settled: int = 0
    granted: int = 0
    given_back: int = 0
    retired: int = 0
    sequence: int = 0
    pending: int = 0
    closed: bool = False
    refused: tuple[int, int, int, int] | None = None
    refused_at: int = -1
    window: int = 0
    reservations: dict[int, int] = field(default_factory=dict)
    bounds: set[int] = field(default_factory=set)  # slots whose reservation is an upper bound
    beyond: int = 0


class TableModel:
    def __init__(self, geometry: TableCapacities, life: bytes = b"model table life") -> None:
        self.geometry = geometry
        self.life = life
        self.credit_generation = 0
        self.lent = 0
        self.records: dict[int, Record] = {}
        self.generations = [0] * geometry.branches
        self.free = list(reversed(range(geometry.branches)))  # a stack: the lowest number first
        self.next_looked_at = 0
        self.slots = itertools.count()

    # -- what the owner does --------------------------------------------------------------------

    def set_lent(self, amount: int) -> None:
        self.lent = amount

    def find(self, key: bytes) -> int:
        return next((n for n, record in self.records.items() if record.key == key), -1)

    def open_branch(  # noqa: PLR0913, PLR0917 - as the native table's
        self,
        key: bytes,
        parents: tuple[int, ...],
        path_digest: bytes,
        quota: int,
        quota_iat: int,
        expires: int,
        now_wall: int,
        now_boot_ns: int,
        told: tuple[int, int, int, int] = (0, 0, 0, 0),
    ) -> int:
        if self.find(key) >= 0:
            raise ValueError("the branch has a record already")
        for parent in parents:
            self.live(parent)
        if not self.free:
            raise TableFullError("all branch records are in use")
        number = self.free.pop()
        self.generations[number] += 1
        self.records[number] = Record(
            number, self.generations[number], key, tuple(parents), path_digest
        )
        record = self.records[number]
        record.sequence, record.granted, record.given_back, record.settled = told
        self.amend(number, quota, quota_iat, expires, now_wall, now_boot_ns)
        return number

    def amend(
        self,
        number: int,
        quota: int,
        quota_iat: int,
        expires: int,
        now_wall: int,
        now_boot_ns: int,
    ) -> None:
        record = self.live(number)
        record.quota, record.quota_iat = quota, quota_iat
        record.expires = max(record.expires, expires)
        record.held_from = now_boot_ns
        record.held_for = max(0, record.expires - now_wall) * NS

    def close_branch(self, number: int) -> int:
        record = self.live(number)
        record.closed = True
        return self.take_back(number, record.available)

    def begin_draw(self, number: int, need: int) -> int:
        record = self.live(number)
        if need == 0:
            raise ValueError("a draw needs at least one micro-credit")
        record.sequence += 1
        record.pending = need
        return record.sequence

    def grant(self, number: int, amount: int, beyond: int = 0) -> None:
        record = self.live(number)
        if not record.pending:
            raise ValueError("no draw is pending")
        if record.granted - record.given_back - record.settled + amount > limits.lease_micro_max:
            raise ValueError("a lease would pass its bound")
        record.granted += amount
        record.available += amount
        record.pending = 0
        record.refused = None
        record.beyond = beyond

    def overdraw(self, number: int, amount: int) -> None:
        record = self.live(number)
        if record.granted - record.given_back - record.settled + amount > limits.lease_micro_max:
            raise ValueError("a lease would pass its bound")
        record.granted += amount
        record.available += amount

    def expect(self, number: int, beyond: int) -> None:
        self.live(number).beyond = beyond

    def refuse(
        self, number: int, level: int, need: int, used: int, quota: int, window: int = 0
    ) -> None:
        record = self.live(number)
        record.pending = 0
        record.window = window
        record.refused = (need, level, used, quota) if need else None
        record.refused_at = self.credit_generation
        record.beyond = 0 if need else record.beyond

    def take_back(self, number: int, amount: int) -> int:
        record = self.live(number)
        taken = min(amount, record.available)
        record.available -= taken
        record.given_back += taken
        self.credit_generation += taken > 0
        return taken

    def reclaim(
        self, now_wall: int, now_boot_ns: int, records_max: int = 4096
    ) -> list[ReclaimedBranch]:
        """Looks at `records_max` records, in their order, and goes on there next time."""
        gone = []
        for _ in range(min(records_max, self.geometry.branches)):
            record = self.records.get(self.next_looked_at)
            self.next_looked_at = (self.next_looked_at + 1) % self.geometry.branches
            if record is not None and self.may_go(record, now_wall, now_boot_ns):
                gone.append(self.forget(record))
        return gone

    def forget(self, record: Record) -> ReclaimedBranch:
        consumed = record.granted - record.given_back - record.available
        for parent in record.parents:
            self.records[parent].retired += consumed
        del self.records[record.number]
        self.free.append(record.number)
        return ReclaimedBranch(record.key, consumed)

    def may_go(self, record: Record, now_wall: int, now_boot_ns: int) -> bool:
        children = any(record.number in other.parents for other in self.records.values())
        held = now_boot_ns - record.held_from
        expired = now_wall > record.expires and held > 0 and held >= record.held_for
        return expired and not children and not record.reservations and not record.pending

    def branch(self, number: int) -> BranchRecord | None:
        if number >= self.geometry.branches:
            raise IndexError(number)
        record = self.records.get(number)
        return None if record is None else self.copy(record)

    def scan(self, first: int, count: int) -> list[BranchRecord]:
        return [
            self.copy(self.records[number])
            for number in sorted(self.records)
            if first <= number < first + count
        ]

    def live(self, number: int) -> Record:
        if number not in self.records:
            raise ValueError(f"branch record {number} is not in use")
        return self.records[number]

    def copy(self, record: Record) -> BranchRecord:
        reserved = sum(record.reservations.values())
        held = record.given_back + record.available + reserved + record.settled
        refused = record.refused if record.refused_at == self.credit_generation else None
        return BranchRecord(
            record.number,
            record.generation,
            record.key,
            record.parents,
            record.path_digest,
            record.quota,
            record.quota_iat,
            record.expires,
            record.available,
            reserved,
            self.held_loosely(record),
            record.settled,
            record.granted,
            record.given_back,
            max(0, record.granted - held),
            record.retired,
            record.sequence,
            record.pending,
            record.closed,
            refused,
            record.beyond,
            record.window if refused else 0,
        )

    def held_loosely(self, record: Record) -> int:
        return sum(record.reservations[slot] for slot in record.bounds)

    def loose(self) -> dict[int, int]:
        found = {n: self.held_loosely(record) for n, record in self.records.items()}
        return {number: amount for number, amount in found.items() if amount}

    # -- what the gate does ---------------------------------------------------------------------

    def reserve(self, number: int, amount: int, *, loose: bool = False) -> int | None:
        """A slot that holds `amount`, an upper bound if `loose`; None if the lease has less."""
        record = self.live(number)
        if record.available < amount:
            return None
        record.available -= amount
        slot = next(self.slots)
        record.reservations[slot] = amount
        if loose:
            record.bounds.add(slot)
        return slot

    def grow(self, number: int, slot: int, more: int) -> bool:
        record = self.live(number)
        if record.available < more:
            return False
        record.available -= more
        record.reservations[slot] += more
        return True

    def settle(self, number: int, slot: int, cost: int) -> None:
        record = self.live(number)
        amount = record.reservations.pop(slot)
        record.bounds.discard(slot)
        record.settled += cost
        record.available += amount - cost
        self.credit_generation += amount > cost

    def release(self, number: int, slot: int) -> None:
        self.settle(number, slot, 0)

    def undo(self, number: int, cost: int) -> None:
        """An embedded permit that was charged in `decide` gives its price back."""
        record = self.live(number)
        record.settled -= cost
        record.available += cost
        self.credit_generation += cost > 0

    def burn(self, number: int, slot: int) -> None:
        """The process that held the reservation died."""
        record = self.live(number)
        del record.reservations[slot]
        record.bounds.discard(slot)
