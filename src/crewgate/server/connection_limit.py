"""Who is connected: how many in all, how many from one address, and whether one more may come in.

A host with IPv6 has a /64 of addresses at hand (RFC 4291, 2.5.4), so that network counts as one.
Counts what it refuses; never remembers an address that has no connection, so nobody is banned.
"""

from collections import Counter
from ipaddress import ip_network

from crewgate.server.counters import Counters

_PREFIX = 64


class ConnectionLimiter:
    """Counts the connections of one listener; refusals go into `counters`."""

    def __init__(self, most: int, most_from_one: int, counters: Counters | None = None) -> None:
        self.counters = counters or Counters()
        self._most_from_one = most_from_one
        self.most = most  # may be changed at any time; who is there stays
        self._from: Counter[str] = Counter()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def handshakes_max(self) -> int:
        """How many may be in their handshakes: half, so that the others' places are not theirs."""
        return max(1, self.most // 2)

    def enter(self, address: str) -> bool:
        """Count a connection from `address`; False if it must be refused, and is not counted."""
        one = client_network(address)
        if self._count >= self.most:
            self.counters.connections_refused_full += 1
            return False
        if self._from[one] >= self._most_from_one:
            self.counters.connections_refused_address += 1
            return False
        self._from[one] += 1
        self._count += 1
        return True

    def leave(self, address: str) -> None:
        """Count the end of a connection that entered."""
        one = client_network(address)
        self._count -= 1
        self._from[one] -= 1
        if not self._from[one]:
            del self._from[one]


def client_network(address: str) -> str:
    """Return what counts as one peer; a mapped address (::ffff:192.0.2.1) is its own."""
    if ":" not in address or address.startswith("::ffff:"):
        return address
    return str(ip_network((address.partition("%")[0], _PREFIX), strict=False))
