"""Who is attached to the table, and the end of the reservations of those who are gone.

Only the agent calls this, through `OwnedTable`.
"""

from crewgate._native.records import Burned
from crewgate._native.table import Table

class AttachmentTable(Table):
    def take_attachment(self) -> tuple[int, int]:
        """(number, nonce) for a process that attaches. TableFullError."""
    def resume_attachment(self, number: int, nonce: int) -> bool:
        """The process that was given them comes back (the agent was restarted)."""
    def attachments(self) -> list[int]:
        """Numbers in use: after `open`, those whose owners must come back or be dropped."""
    def drop_attachment(self, number: int) -> list[Burned]:
        """Its process is gone: end its reservations, free its slots."""
    def burn_overdue(self, now_boot_ns: int) -> list[Burned]:
        """End every reservation past its deadline (one that is settling goes on)."""

def arm_fault(stores: int) -> bool:
    """Tests: SIGKILL this process just before its `stores`-th store to a table from now on.

    False in every build but the fault-injection one (CREWGATE_FAULTS=1): nothing happens then.
    """
