"""The table as its one agent writes it, or a process that has a private table.

Every method is one transaction: after a SIGKILL between any two of its stores, the next `open`
repairs the table.
"""

from crewgate._native.records import BurnedReservation, ReclaimedBranch, TableCapacities
from crewgate._native.table import Table

class OwnedTable(Table):
    @staticmethod
    def create(path: str, geometry: TableCapacities, *, mode: int = 0o600) -> OwnedTable:
        """Allocate a new file in full, lock it as the one agent, and replace an existing file.

        `retire` the existing table first, so that processes that still map it refuse calls. Raises
        TableError: another agent holds it, the disk has no room, or permission is denied.
        """
    @staticmethod
    def open(path: str, *, mode: int = 0o600) -> OwnedTable:
        """Lock and map an existing file, and repair it. Raises FileNotFoundError; StaleTableError
        for another version or boot, or an incomplete file; or another TableError."""
    @staticmethod
    def private(geometry: TableCapacities) -> OwnedTable:
        """Make an anonymous table of this process, which is always fresh and synced."""
    # The descriptor for processes that attach; -1 if the table is private.
    fd: int
    # How many records the repair found without an index word.
    lost: int
    # The ledger does not know at most this much of what was granted.
    lent: int
    # The ledger's count of what this machine has reported to it; 0 at first.
    ledger_count: int
    def extend_freshness(self, until_boot_ns: int, synced_until_boot_ns: int) -> None:
        """Let every process admit calls until `until_boot_ns`, and calls of tools with `when_stale
        = "closed"` until `synced_until_boot_ns`. The second is 2**64 - 1 on a single machine."""
    def retire(self) -> None:
        """Let no process admit calls on this table any more."""
    def set_policy_generation(self, generation: int) -> None: ...
    def set_lent(self, amount: int) -> None: ...
    def set_ledger_count(self, count: int) -> None: ...
    def revoke(
        self, key: bytes, crew: bytes, before: int, life: int, now_wall: int, now_boot_ns: int
    ) -> bool:
        """Revoke the tokens with this key that were issued up to `before` (seconds), for `life`
        seconds from now by both clocks. `crew` is the key of the crew. Never shortens an existing
        revocation; returns False if it was there already. Raises TableFullError."""
    def revocations_of(self, crew: bytes) -> int:
        """Return the number of live revocations of a crew."""
    def open_branch(
        self,
        key: bytes,
        parents: tuple[int, ...],
        path_digest: bytes,
        quota: int,
        quota_iat: int,
        expires: int,
        now_wall: int,
        now_boot_ns: int,
        told: tuple[int, int, int, int] = ...,
    ) -> int:
        """Make a new record, and return its number. Raises TableFullError, or ValueError if the
        key has a record.

        `told` is what the ledger knows about its lease in this life of the table: the number of the
        last draw, and micro-credits granted, given back and settled."""
    def amend(
        self, number: int, quota: int, quota_iat: int, expires: int, now_wall: int, now_boot_ns: int
    ) -> None:
        """Set the governing quota and its expiry; the expiry never gets earlier."""
    def reclaim(
        self, now_wall: int, now_boot_ns: int, records_max: int = ...
    ) -> list[ReclaimedBranch]:
        """Free the records that have expired by both clocks: revocations, and branches without
        children or reservations. Looks at `records_max` records of each kind per call."""
    def take_attachment(self) -> tuple[int, int]:
        """Return a number and nonce for a process that attaches. Raises TableFullError."""
    def resume_attachment(self, number: int, nonce: int) -> bool:
        """Return whether a process has this attachment, after the agent was restarted."""
    def attachments(self) -> list[int]:
        """Return the numbers in use. After `open`, their processes must resume them, or the agent
        drops them."""
    def drop_attachment(self, number: int) -> list[BurnedReservation]:
        """End the reservations of a process that is gone, and free its slots."""
    def burn_overdue(self, now_boot_ns: int) -> list[BurnedReservation]:
        """End every reservation past its deadline, except one that is settling."""
    def close_branch(self, number: int) -> int:
        """Give the branch no more credit, ever; return what was taken back from its lease."""
    def begin_draw(self, number: int, need: int) -> int:
        """Begin a draw, and return the sequence number for the request to the ledger."""
    def grant(self, number: int, amount: int, beyond: int = 0) -> None:
        """Apply the ledger's response to the pending draw, once. The ledger could grant `beyond`
        more.

        Raises ValueError if no draw is pending, or the lease would exceed lease_micro_max."""
    def overdraw(self, number: int, amount: int) -> None:
        """Add credit to the lease that the ledger has not granted yet. Raises as `grant`."""
    def expect(self, number: int, beyond: int) -> None:
        """Set what the ledger could grant more, as of its last response."""
    def refuse(
        self, number: int, level: int, need: int, used: int, quota: int, window: int = 0
    ) -> None:
        """End the pending draw as refused. A need of 0 only ends it: the branch is not exhausted.

        `window` is the crew's hour or day whose spending caused the refusal, as
        `core.budget.ledger_protocol.window_of` has it, or 0."""
    def take_back(self, number: int, amount: int) -> int:
        """Take up to `amount` of unreserved credit out of the lease; return how much it was."""

def arm_fault(stores: int) -> bool:
    """Tests: SIGKILL this process just before its `stores`-th store to a table from now on.

    False in every build but the fault-injection one (CREWGATE_FAULTS=1): nothing happens then.
    """
