"""Counts the datagrams that a member sends, receives and refuses."""

from collections import Counter

from crewgate.errors import GossipError
from crewgate.gossip.datagram_crypto import (
    AuthenticationError,
    ReplayError,
    UnknownKeyError,
    UnknownSenderError,
)

_REASONS = {
    UnknownSenderError: "unknown sender",
    UnknownKeyError: "unknown key",
    ReplayError: "replayed",
    AuthenticationError: "not authentic",
}


class DatagramStats:
    """How many datagrams one member has sent and received since its start.

    `refused` counts, by reason, those of the received ones that were refused.
    """

    def __init__(self) -> None:
        self.sent = 0
        self.received = 0
        self.refused: Counter[str] = Counter()

    def refuse(self, error: GossipError) -> None:
        """Count a datagram that could not be decrypted."""
        self.refused[_REASONS.get(type(error), "malformed")] += 1

    def ignore(self) -> None:
        """Count a datagram of a member whose message is not valid."""
        self.refused["invalid message"] += 1
