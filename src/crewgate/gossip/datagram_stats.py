"""How many datagrams came and went, and why some that came were refused. Counts, and no more."""

from collections import Counter

from crewgate.errors import GossipError
from crewgate.gossip.datagram_crypto import (
    AuthenticationError,
    ReplayError,
    UnknownKeyError,
    UnknownSenderError,
)

_WHY = {
    UnknownSenderError: "of no member",
    UnknownKeyError: "unknown key",
    ReplayError: "came before",
    AuthenticationError: "not sealed for us",
}


class DatagramStats:
    """Of one member since its start."""

    def __init__(self) -> None:
        self.sent = 0
        self.received = 0
        self.refused: Counter[str] = Counter()  # of those received, by reason

    def __repr__(self) -> str:
        refused = dict(self.refused)
        return f"<DatagramStats sent={self.sent} received={self.received} refused={refused}>"

    def refuse(self, error: GossipError) -> None:
        """One that was not opened."""
        self.refused[_WHY.get(type(error), "no such form")] += 1

    def ignore(self) -> None:
        """One that a member has sealed, and that says what no member says."""
        self.refused["said nothing"] += 1
