"""The interface that the gossip needs of the machine that it runs on."""

from collections.abc import Sequence
from typing import Protocol

from crewgate.core.gossip.capsules import RevocationEntry


class GossipDelegate(Protocol):
    """The machine that applies the revocations of other members."""

    def apply(self, entries: Sequence[RevocationEntry], origins: Sequence[bytes]) -> None:
        """Put revocations into force before this returns; `origins` has the signer of each."""

    def is_dead(self, keys: Sequence[tuple[bytes, int]]) -> bool:
        """Return whether a certificate is revoked, by its keys, each as of a time in seconds."""

    def log(self, text: str) -> None:
        """Log one sentence."""

    def now(self) -> float:
        """Return seconds of CLOCK_BOOTTIME."""

    def wall(self) -> int:
        """Return whole seconds of the wall clock."""
