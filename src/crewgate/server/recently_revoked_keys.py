"""Remembers recent revocations of certificates, and the connections that a table scan closed.

The table may have been full when a certificate was revoked, and a handshake may have begun with an
older CRL. So a worker also refuses the keys that the agent has pushed recently. This module reads
no clock.
"""

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from crewgate import limits
from crewgate.core.ids import certificate_key
from crewgate.core.x509.certificate import revocable_by
from crewgate.server.request import ClientInfo


class RecentlyRevokedKeys:
    """The most recently revoked keys, at most `keys_max`; the oldest are dropped first."""

    def __init__(self, keys_max: int = limits.recently_revoked_keys_max) -> None:
        self._keys_max = keys_max
        self._keys: dict[bytes, None] = {}  # in order, the oldest first

    def __contains__(self, key: bytes) -> bool:
        return key in self._keys

    def add(self, keys: Iterable[bytes]) -> None:
        """Remember these keys as the most recent."""
        for key in keys:
            self._keys.pop(key, None)  # a known key moves to the end
            self._keys[key] = None
        while len(self._keys) > self._keys_max:
            del self._keys[next(iter(self._keys))]


class DisconnectCount(NamedTuple):
    """How many connections were closed, how many calls with them, and when (monotonic, ns)."""

    connections: int
    calls: int
    last_ns: int


class UnreportedDisconnects:
    """The connections that a scan of the table closed before the agent's push named them.

    The push then claims them, once, for its receipt. `InFlightCalls` does the same for calls.
    """

    def __init__(self) -> None:
        self._scans: deque[tuple[int, int, list[frozenset[bytes]]]] = deque(
            maxlen=limits.cuts_remembered
        )

    def note(self, peers: Iterable[ClientInfo], calls: int, now_ns: int) -> None:
        """Remember the clients that one scan disconnected, and how many calls that ended."""
        while self._scans and now_ns - self._scans[0][0] > limits.cut_memory_seconds * 1e9:
            self._scans.popleft()
        key_sets = [_revocation_keys(peer) for peer in peers]
        if key_sets:
            self._scans.append((now_ns, calls, key_sets))

    def claim(self, keys: Iterable[bytes]) -> DisconnectCount:
        """Return, and forget, what scans have closed of these certificates and orchestrators."""
        wanted, found = frozenset(keys), DisconnectCount(0, 0, 0)
        for scan in list(self._scans):
            now_ns, calls, closed = scan
            count = sum(not wanted.isdisjoint(closed_keys) for closed_keys in closed)
            if not count:
                continue
            self._scans.remove(scan)
            found = DisconnectCount(
                found.connections + count,
                found.calls + calls,
                max(found.last_ns, now_ns),
            )
        return found


def _revocation_keys(peer: ClientInfo) -> frozenset[bytes]:
    """Return the keys whose revocation closes this connection: certificate and orchestrator."""
    if peer.identity is None:
        return frozenset([certificate_key(peer.crew or "", peer.serial)])
    return frozenset(key for key, _ in revocable_by(peer.identity, peer.serial, peer.issued))
