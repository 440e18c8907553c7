"""The table in the hands of its one agent, or of the process that made it for itself.

Every method is one whole transaction: a SIGKILL between any two of its stores leaves a state that
the next `open` repairs.
"""

from crewgate._native.records import BurnedReservation, Geometry, ReclaimedBranch
from crewgate._native.table import Table

class OwnedTable(Table):
    @staticmethod
    def create(path: str, geometry: Geometry, *, mode: int = 0o600) -> OwnedTable:
        """Allocate a new file in full, lock it as the one agent, put it in place of any other.

        `retire` one that stood there before: who still maps it refuses then. Raises TableError:
        another agent holds it, no space, not permitted.
        """
    @staticmethod
    def open(path: str, *, mode: int = 0o600) -> OwnedTable:
        """Lock and map an existing file and repair it. Raises TableError; FileNotFoundError if
        there is none, StaleTableError (a TableError) for another version, boot or a torn file."""
    @staticmethod
    def private(geometry: Geometry) -> OwnedTable:
        """An anonymous table of this process; always fresh and synced."""
    fd: int  # to pass to those who attach; -1 if private
    lost: int  # records that repair found without an index word
    lent: int  # at most so much of all that was granted does the ledger not know
    ledger_count: int  # what this machine has told its ledger, as the ledger counts it; 0 at first
    def vouch(self, until_boot_ns: int, synced_until_boot_ns: int) -> None:
        """Everybody may admit until then (fresh_until), and calls of tools that are closed when
        stale no longer than this machine knows what a majority of members knows (synced_until);
        2**64 - 1 where there is nobody else to know anything."""
    def retire(self) -> None:
        """Nobody may admit on this table any more."""
    def set_policy_generation(self, generation: int) -> None: ...
    def set_lent(self, amount: int) -> None: ...
    def set_ledger_count(self, count: int) -> None: ...
    def revoke(
        self, key: bytes, crew: bytes, before: int, life: int, now_wall: int, now_boot_ns: int
    ) -> bool:
        """Tokens with this key issued up to `before` (seconds) are dead for `life` seconds from
        now, by both clocks; `crew` is the crew's key. Never shortens what is there. False if it
        was there already. TableFullError."""
    def revocations_of(self, crew: bytes) -> int:
        """Live entries of this crew."""
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
        """A new record; its number. ValueError if the key is there, TableFullError.

        `told` is what the ledger knows of its lease in this life of the table: the last draw's
        number, and micro-credits granted, given back and settled."""
    def amend(
        self, number: int, quota: int, quota_iat: int, expires: int, now_wall: int, now_boot_ns: int
    ) -> None:
        """The governing quota, and a life that is never shortened."""
    def reclaim(
        self, now_wall: int, now_boot_ns: int, records_max: int = ...
    ) -> list[ReclaimedBranch]:
        """Forget what has expired by both clocks: revocations, and branches without children or
        reservations. Looks at `records_max` records of each kind, then goes on next time."""
    def take_attachment(self) -> tuple[int, int]:
        """(number, nonce) for a process that attaches. TableFullError."""
    def resume_attachment(self, number: int, nonce: int) -> bool:
        """The process that was given them comes back (the agent was restarted)."""
    def attachments(self) -> list[int]:
        """Numbers in use: after `open`, those whose owners must come back or be dropped."""
    def drop_attachment(self, number: int) -> list[BurnedReservation]:
        """Its process is gone: end its reservations, free its slots."""
    def burn_overdue(self, now_boot_ns: int) -> list[BurnedReservation]:
        """End every reservation past its deadline (one that is settling goes on)."""
    def close_branch(self, number: int) -> int:
        """No more credit for it, ever; what was taken back out of its lease."""
    def begin_draw(self, number: int, need: int) -> int:
        """The sequence number under which the ledger is asked."""
    def grant(self, number: int, amount: int, beyond: int = 0) -> None:
        """Apply the answer to the pending draw, once; `beyond` is what could be granted besides.

        ValueError if no draw is pending or the lease would pass lease_micro_max."""
    def lend(self, number: int, amount: int) -> None:
        """Into the lease what the ledger has not granted yet. ValueError as `grant`."""
    def expect(self, number: int, beyond: int) -> None:
        """What the ledger could grant besides, when it was last asked."""
    def refuse(
        self, number: int, level: int, need: int, used: int, quota: int, window: int = 0
    ) -> None:
        """The pending draw was refused; a need of 0 only clears it (not exhausted).

        `window` is the crew's hour or day that is spent (`core.budget.ledger_protocol.window_of`), 0 for none."""
    def take_back(self, number: int, amount: int) -> int:
        """Unreserved credit out of the lease, up to `amount`; how much it was."""

def arm_fault(stores: int) -> bool:
    """Tests: SIGKILL this process just before its `stores`-th store to a table from now on.

    False in every build but the fault-injection one (CREWGATE_FAULTS=1): nothing happens then.
    """
