"""What `delivery` needs of a way to a receiver."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from crewgate.audit.audit_entry import AuditEntry


class Rejection(NamedTuple):
    """How many records a receiver dropped after it took them, and why; 0 for none."""

    records: int = 0
    why: str = ""


class Channel(Protocol):
    """One receiver and one sort of message to it."""

    name: str
    """The name in logs and in health, such as `collector (traces)`."""

    def wants(self, entry: AuditEntry) -> bool:
        """Return whether the receiver gets anything for this entry."""

    async def send(self, entries: Sequence[AuditEntry]) -> Rejection:
        """Send entries, at least one, and return once the receiver has them.

        Raises ReceiverError if the receiver did not take them, and ReceiverRefusedError if it
        refuses one.
        """

    async def close(self) -> None:
        """Close the connections."""
