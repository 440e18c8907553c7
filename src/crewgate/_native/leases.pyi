"""The leases of a table's branches, as its one agent fills and empties them."""

from crewgate._native.attachments import AttachmentTable

class LeaseTable(AttachmentTable):
    def close_branch(self, number: int) -> int:
        """No more credit for it, ever; what was taken back out of its lease."""
    def begin_draw(self, number: int, need: int) -> int:
        """The sequence number under which the ledger is asked."""
    def grant(self, number: int, amount: int, beyond: int = 0) -> None:
        """Apply the answer to the pending draw, once; `beyond` is what could be granted besides. ValueError if no draw is pending or the
        lease would pass lease_micro_max."""
    def lend(self, number: int, amount: int) -> None:
        """Into the lease what the ledger has not granted yet. ValueError as `grant`."""
    def expect(self, number: int, beyond: int) -> None:
        """What the ledger could grant besides, when it was last asked."""
    def refuse(
        self, number: int, level: int, need: int, used: int, quota: int, window: int = 0
    ) -> None:
        """The pending draw was refused; a need of 0 only clears it (not exhausted).

        `window` is the crew's hour or day that is spent (`core.ledger.window_of`), 0 for none."""
    def take_back(self, number: int, amount: int) -> int:
        """Unreserved credit out of the lease, up to `amount`; how much it was."""

def arm_fault(stores: int) -> bool:
    """Tests: SIGKILL this process just before its `stores`-th store to a table from now on.

    False in every build but the fault-injection one (CREWGATE_FAULTS=1): nothing happens then.
    """
