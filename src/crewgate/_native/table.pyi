"""The shared table: one mmap file a machine; branches, revocations, reservations.

Only the agent (or the owner of a private table) calls what is listed under "owner". Everyone else
changes single words of existing records, through the gate.
"""

from typing import NamedTuple

class Geometry(NamedTuple):
    """Capacities; powers of two."""

    branches: int
    revocations: int
    reservations: int
    attachments: int

class Branch(NamedTuple):
    """A consistent copy of one branch (or crew) record; amounts in micro-credits."""

    number: int
    generation: int
    key: bytes
    parents: tuple[int, ...]  # record numbers, crew first, then root … parent; empty for a crew
    path_digest: bytes
    quota: int
    quota_iat: int
    expires: int  # wall clock, seconds
    available: int
    reserved: int
    settled: int
    granted: int
    given_back: int
    burned: int  # granted - given back - available - reserved - settled; exact once quiet
    retired: int  # what reclaimed descendants had consumed
    sequence: int  # of the last draw
    pending: int  # need of a draw that was begun and not applied, 0 if none
    closed: bool
    hour: tuple[int, int]  # (hour number, credits charged in it); crews only
    day: tuple[int, int]

class Burned(NamedTuple):
    """A reservation ended by the agent: its owner died or its deadline passed."""

    branch_key: bytes
    amount: int
    intent: bool  # the owner died before it is known whether the credit was taken
    tool: int
    grant: bytes  # 16 bytes, the grant's key
    request: bytes  # 16 bytes
    started_ns: int  # wall clock
    owner: int

class Table:
    @staticmethod
    def create(path: str, geometry: Geometry, *, mode: int = 0o600) -> Table:
        """Allocate in full, map, and lock as the one agent. TableError: no space, locked."""
    @staticmethod
    def open(path: str) -> Table:
        """Map and lock an existing file as the agent; replays the redo log. TableError when the
        version, boot, size or a checksum differs (`.stale` tells a table to be replaced)."""
    @staticmethod
    def private(geometry: Geometry) -> Table:
        """An anonymous table of this process."""
    @staticmethod
    def attach(fd: int) -> Table:
        """Map as a worker or embedder, from a descriptor that the agent passed."""
    fd: int
    life: bytes  # 16 random bytes chosen at creation
    geometry: Geometry
    revocation_generation: int
    policy_generation: int
    credit_generation: int
    retired: bool
    def is_fresh(self, now_boot_ns: int) -> bool: ...
    def close(self) -> None: ...
    # anyone
    def is_revoked(self, key: bytes, issued_at: int) -> bool: ...
    def find(self, key: bytes) -> int: ...  # record number, -1 if none
    def branch(self, number: int) -> Branch | None: ...
    def counts(self) -> dict[str, int]: ...  # used and capacity of each region, refused inserts
    # owner
    def vouch(self, until_boot_ns: int) -> None: ...  # fresh_until
    def retire(self) -> None: ...
    def set_policy_generation(self, generation: int) -> None: ...
    def take_attachment(self) -> int: ...  # TableFullError
    def drop_attachment(self, number: int) -> list[Burned]: ...
    def revoke(self, key: bytes, before: int, expires: int, now_boot_ns: int) -> bool: ...
    def open_branch(
        self, key: bytes, parents: tuple[int, ...], path_digest: bytes,
        quota: int, quota_iat: int, expires: int, now_boot_ns: int,
    ) -> int: ...  # record number; TableFullError
    def amend(self, number: int, quota: int, quota_iat: int, expires: int) -> None: ...
    def close_branch(self, number: int) -> int: ...  # credit taken back
    def begin_draw(self, number: int, need: int) -> int: ...  # sequence
    def grant(self, number: int, amount: int, hour: tuple[int, int], day: tuple[int, int]) -> None: ...
    def refuse(self, number: int, level: int, need: int, used: int, quota: int) -> None: ...
    def take_back(self, number: int, amount: int) -> int: ...  # what could be taken
    def burn_overdue(self, now_boot_ns: int) -> list[Burned]: ...
    def reclaim(self, now_wall: int, now_boot_ns: int, records_max: int) -> list[bytes]: ...
    def scan(self, first: int, count: int) -> list[Branch]: ...
