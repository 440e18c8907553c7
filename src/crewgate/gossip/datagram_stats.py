"""How many datagrams came and went, and why some that came were refused. Counts, and no more."""

from collections import Counter

from crewgate.errors import GossipError
from crewgate.gossip.datagram_crypto import (
    RepeatedError,
    StrangerError,
    UnknownKeyError,
    UnsealedError,
)

_WHY = {
    StrangerError: "of no member",
    UnknownKeyError: "unknown key",
    RepeatedError: "came before",
    UnsealedError: "not sealed for us",
}


class Traffic:
    """Of one member since its start."""

    def __init__(self) -> None:
        self.sent = 0
        self.received = 0
        self.refused: Counter[str] = Counter()  # of those received, by reason

    def __repr__(self) -> str:
        return f"<Traffic sent={self.sent} received={self.received} refused={dict(self.refused)}>"

    def refuse(self, error: GossipError) -> None:
        """One that was not opened."""
        self.refused[_WHY.get(type(error), "no such form")] += 1

    def ignore(self) -> None:
        """One that a member has sealed, and that says what no member says."""
        self.refused["said nothing"] += 1
