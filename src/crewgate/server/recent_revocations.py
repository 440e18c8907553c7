"""What a worker remembers of revoked certificates: whom not to admit, whom it has expelled unasked.

The table may have had no room for a certificate, and a handshake may have begun under an older
list: so what the agent has pushed of late is barred here as well. Reads no clock.
"""

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from crewgate import limits
from crewgate.core.ids import certificate_key
from crewgate.core.x509.certificate import revocable_by
from crewgate.server.request import ClientInfo


class RecentRevocations:
    """The last keys that were revoked, of certificates among others; the oldest make room."""

    def __init__(self, keys_max: int = limits.barred_keys_max) -> None:
        self._most = keys_max
        self._keys: dict[bytes, None] = {}  # the oldest first

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: bytes) -> bool:
        return key in self._keys

    def add(self, keys: Iterable[bytes]) -> None:
        """Bar these too."""
        for key in keys:
            self._keys.pop(key, None)  # it is the newest again
            self._keys[key] = None
        while len(self._keys) > self._most:
            del self._keys[next(iter(self._keys))]


class DisconnectCount(NamedTuple):
    """Connections that were ended, the calls that were cut with them, and when (monotonic, ns)."""

    connections: int
    calls: int
    last_ns: int


class ScannedDisconnects:
    """Connections that a look at the table has ended before the push about them came.

    The push claims them, once, for its receipt. As `Live.look` and `Live.claim`, of calls.
    """

    def __init__(self) -> None:
        self._looks: deque[tuple[int, int, list[frozenset[bytes]]]] = deque(
            maxlen=limits.cuts_remembered
        )

    def note(self, peers: Iterable[ClientInfo], calls: int, now_ns: int) -> None:
        """Remember whom one look ended, and how many calls that cut."""
        while self._looks and now_ns - self._looks[0][0] > limits.cut_memory_seconds * 1e9:
            self._looks.popleft()
        named = [_names(peer) for peer in peers]
        if named:
            self._looks.append((now_ns, calls, named))

    def claim(self, keys: Iterable[bytes]) -> DisconnectCount:
        """What looks have ended of these certificates, or of these orchestrators."""
        wanted, found = frozenset(keys), DisconnectCount(0, 0, 0)
        for look in list(self._looks):
            now_ns, calls, ended = look
            count = sum(not wanted.isdisjoint(names) for names in ended)
            if not count:
                continue
            self._looks.remove(look)
            found = DisconnectCount(
                found.connections + count,
                found.calls + calls,
                max(found.last_ns, now_ns),
            )
        return found


def _names(peer: ClientInfo) -> frozenset[bytes]:
    """All that a push may name to end this connection: its certificate, and its orchestrator."""
    if peer.identity is None:
        return frozenset([certificate_key(peer.crew or "", peer.serial)])
    return frozenset(key for key, _ in revocable_by(peer.identity, peer.serial, peer.issued))
