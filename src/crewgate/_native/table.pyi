"""The shared table as every process maps it: one mmap file per machine, read without waiting.

`_native/table_owner` has what only the agent may do. Names of times have their unit; amounts are
micro-credits.
"""

from crewgate._native.records import BranchRecord, TableCapacities
from crewgate.errors import TableError

class StaleTableError(TableError):
    """The table is of another version or kernel boot, or incomplete; replace its file."""

def boot_id() -> bytes:
    """Return the 16 bytes that identify this boot of the kernel."""

class Table:
    """A mapped table; workers and embedders map it with `Table.attach(fd)`."""

    @staticmethod
    def attach(fd: int) -> Table:
        """Map the file behind a descriptor from the agent; the descriptor may be closed then.

        Raises TableError (errors.py) if it is not a complete table of our version and this boot.
        """
    # 16 random bytes, chosen at creation: `boot` of the ledger protocol.
    life: bytes
    geometry: TableCapacities
    # In bytes.
    size: int
    revocation_generation: int
    policy_generation: int
    credit_generation: int
    retired: bool
    # CLOCK_BOOTTIME ns until which the agent keeps the table fresh.
    fresh_until: int
    # CLOCK_BOOTTIME ns until which the table has every revocation that a majority of members knows.
    synced_until: int
    def close(self) -> None: ...
    def is_revoked(self, key: bytes, issued_at: int = 0) -> bool: ...
    def revoked_before(self, key: bytes) -> int | None:
        """Return the second up to which issued tokens are revoked; None if the key is not."""
    def find(self, key: bytes) -> int:
        """Return the record number of a branch or crew key; -1 if there is none."""
    def scan(self, first: int, count: int) -> list[BranchRecord]:
        """Return copies of the live records numbered first … first + count - 1."""
    def branch(self, number: int) -> BranchRecord | None:
        """Return a copy of a live record; None if it is free. Raises IndexError past the end."""
    def loose(self) -> dict[int, int]:
        """Return, by record number, the part of reservations that is only an upper bound."""
    def counts(self) -> dict[str, int]:
        """Return the number of live records of each kind. This scans the table, so it is slow."""
