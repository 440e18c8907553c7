"""The shared table, as everybody maps it: one mmap file a machine, read without waiting.

What only the agent may do is in `_native/table_owner`. Integers and bytes cross this line; times are
named with their unit, amounts are micro-credits.
"""

from crewgate._native.records import BranchRecord, Geometry
from crewgate.errors import TableError

class StaleTableError(TableError):
    """The file is a table of another version or kernel boot, or torn: replace it."""

def boot_id() -> bytes:
    """16 bytes that name this boot of the kernel."""

class Table:
    """A mapping. `Table.attach(fd)` maps as a worker or embedder."""

    @staticmethod
    def attach(fd: int) -> Table:
        """Map the file behind a descriptor that the agent passed; the descriptor may be closed.

        Raises TableError (errors.py) if it is not a whole table of our version and this boot.
        """
    life: bytes  # 16 random bytes chosen at creation: `boot` of the ledger protocol
    geometry: Geometry
    size: int  # bytes
    revocation_generation: int
    policy_generation: int
    credit_generation: int
    retired: bool
    fresh_until: int  # CLOCK_BOOTTIME ns
    synced_until: int  # the same; what a majority of members knows is entered here
    def close(self) -> None: ...
    def is_revoked(self, key: bytes, issued_at: int = 0) -> bool: ...
    def revoked_before(self, key: bytes) -> int | None:
        """Tokens issued up to this second are dead; None if the key is not revoked."""
    def find(self, key: bytes) -> int:
        """Record number of a branch or crew key, -1 if there is none."""
    def scan(self, first: int, count: int) -> list[BranchRecord]:
        """Copies of the live records numbered first … first + count - 1."""
    def branch(self, number: int) -> BranchRecord | None:
        """A copy of a live record; None if it is free. IndexError past the capacity."""
    def loose(self) -> dict[int, int]:
        """By record number, what of its reservations only bounds what calls will cost."""
    def counts(self) -> dict[str, int]:
        """Live records: branches, revocations, reservations, attachments (a scan: not hot)."""
