"""Bounds the connections of one listener: in all, and from one address.

An IPv6 host can choose any address of a /64 (RFC 4291, 2.5.4), so a /64 counts as one address. The
limiter forgets an address when its last connection ends: it bans nobody.
"""

from collections import Counter
from ipaddress import ip_network

from crewgate.server.listener_counters import ListenerCounters

_IPV6_PREFIX_BITS = 64


class ConnectionLimiter:
    """Counts the open connections of one listener, and in `counters` those that it refused.

    `connections_max` may be changed at any time; a lower value closes no open connection.
    """

    def __init__(
        self, connections_max: int, per_address_max: int, counters: ListenerCounters | None = None
    ) -> None:
        self.counters = counters or ListenerCounters()
        self._per_address_max = per_address_max
        self.connections_max = connections_max
        self._by_network: Counter[str] = Counter()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def handshakes_max(self) -> int:
        """How many connections may be in their handshakes: half of all that are allowed."""
        return max(1, self.connections_max // 2)

    @property
    def from_one_max(self) -> int:
        """How many connections one address may have: at most four fifths of all allowed."""
        return min(self._per_address_max, self.connections_max - self.connections_max // 5)

    def enter(self, address: str) -> bool:
        """Count a connection from `address`; return False if the listener must refuse it."""
        network = client_network(address)
        if self._count >= self.connections_max:
            self.counters.connections_refused_full += 1
            return False
        if self._by_network[network] >= self.from_one_max:
            self.counters.connections_refused_address += 1
            return False
        self._by_network[network] += 1
        self._count += 1
        return True

    def leave(self, address: str) -> None:
        """Count the end of a connection for which `enter` returned True."""
        network = client_network(address)
        self._count -= 1
        self._by_network[network] -= 1
        if not self._by_network[network]:
            del self._by_network[network]


def client_network(address: str) -> str:
    """Return the /64 of an IPv6 address; return an IPv4 or IPv4-mapped address unchanged."""
    if ":" not in address or address.startswith("::ffff:"):
        return address
    return str(ip_network((address.partition("%")[0], _IPV6_PREFIX_BITS), strict=False))
