"""What gossip needs of the machine that it is for."""

from collections.abc import Sequence
from typing import Protocol

from crewgate.core.gossip.capsules import RevocationEntry


class GossipDelegate(Protocol):
    """The machine that obeys: what the others revoke is applied to it."""

    def apply(self, entries: Sequence[RevocationEntry], origins: Sequence[bytes]) -> None:
        """Have these in force when this returns; `origins` are the members that signed each."""

    def is_dead(self, keys: Sequence[tuple[bytes, int]]) -> bool:
        """Whether a certificate is revoked by one of these, each asked of its second."""

    def log(self, text: str) -> None:
        """One sentence for a person."""

    def now(self) -> float:
        """Seconds of CLOCK_BOOTTIME."""

    def wall(self) -> int:
        """Whole seconds of the wall clock."""
