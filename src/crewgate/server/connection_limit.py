"""Bounds the connections of one listener: in all, and from one address.

A host with IPv6 has a /64 of addresses to choose from (RFC 4291, 2.5.4), so that network counts as
one address. The limiter forgets an address whose last connection has ended: it bans nobody.
"""

from collections import Counter
from ipaddress import ip_network

from crewgate.server.counters import Counters

_PREFIX = 64


class ConnectionLimiter:
    """Counts the connections of one listener, and in `counters` those that it refused."""

    def __init__(self, most: int, most_from_one: int, counters: Counters | None = None) -> None:
        self.counters = counters or Counters()
        self._most_from_one = most_from_one
        self.most = most  # may be changed at any time; no open connection is closed for it
        self._from: Counter[str] = Counter()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def handshakes_max(self) -> int:
        """How many connections may be in their handshakes: half, so that the rest stay usable."""
        return max(1, self.most // 2)

    @property
    def from_one_max(self) -> int:
        """How many connections one address may have: never the last fifth of all."""
        return min(self._most_from_one, self.most - self.most // 5)

    def enter(self, address: str) -> bool:
        """Count a connection from `address`; return False if it must be refused."""
        one = client_network(address)
        if self._count >= self.most:
            self.counters.connections_refused_full += 1
            return False
        if self._from[one] >= self.from_one_max:
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
    """Return what counts as one address: the /64 of an IPv6 address, but not of a mapped one."""
    if ":" not in address or address.startswith("::ffff:"):
        return address
    return str(ip_network((address.partition("%")[0], _PREFIX), strict=False))
