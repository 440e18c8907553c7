"""Indexes the open connections with a client certificate, so that a revocation can close them.

The index returns the connections that the caller must close, and itself drains those whose
certificate has expired. This module does no I/O and reads no clock.
"""

from collections.abc import Callable, Collection

from crewgate import limits
from crewgate.core.revocation_kinds import RevokedKeyLookup
from crewgate.core.x509.certificate import revocable_by
from crewgate.server.connection_authorizer import ClosableConnection
from crewgate.server.recently_revoked_keys import RecentlyRevokedKeys
from crewgate.server.request import ClientInfo


class PeerConnections:
    """The admitted connections of one process, by their certificate's key in the table."""

    def __init__(self, on_first: Callable[[], None] = lambda: None) -> None:
        """`on_first` is called when a connection is admitted and no other was open."""
        self._on_first = on_first
        self._open: dict[bytes, dict[ClosableConnection, ClientInfo]] = {}
        self._keys: dict[ClosableConnection, bytes] = {}
        self._drained: set[ClosableConnection] = set()  # the certificate has expired
        # By certificate key: every (key, issued at) whose revocation closes the connection.
        self._revocable: dict[bytes, tuple[tuple[bytes, int], ...]] = {}
        self.recent_revocations = RecentlyRevokedKeys()

    def __len__(self) -> int:
        return len(self._keys)

    def enter(self, key: bytes, connection: ClosableConnection, peer: ClientInfo) -> None:
        """Add a connection that was admitted."""
        if not self._keys:
            self._on_first()
        self._open.setdefault(key, {})[connection] = peer
        self._keys[connection] = key
        if peer.identity is not None and key not in self._revocable:
            self._revocable[key] = revocable_by(peer.identity, peer.serial, peer.issued)

    def leave(self, connection: ClosableConnection) -> None:
        """Forget a connection that has ended; do nothing if it was not added."""
        key = self._keys.pop(connection, None)
        if key is None:
            return
        self._drained.discard(connection)
        peer_connections = self._open[key]
        del peer_connections[connection]
        if not peer_connections:
            del self._open[key]
            self._revocable.pop(key, None)

    def close_set(self, keys: Collection[bytes]) -> dict[ClosableConnection, ClientInfo]:
        """Return the connections with these certificate keys, and have new ones refused."""
        self.recent_revocations.add(keys)
        return {
            connection: peer for key in keys for connection, peer in self._open.get(key, {}).items()
        }

    def revoked(self, table: RevokedKeyLookup) -> dict[ClosableConnection, ClientInfo]:
        """Return the connections whose certificate or orchestrator the table has revoked."""
        return self.close_set(
            [
                key
                for key in self._open
                if any(table.is_revoked(*entry) for entry in self._revocable.get(key, ((key, 0),)))
            ]
        )

    def at(self, listener: str) -> list[tuple[ClosableConnection, ClientInfo]]:
        """Return the connections of the listener with this name."""
        return [
            (connection, peer)
            for peer_connections in self._open.values()
            for connection, peer in peer_connections.items()
            if peer.listener == listener
        ]

    def drain_expired(self, now: float) -> dict[ClosableConnection, ClientInfo]:
        """Drain the connections whose certificate has expired; return those to close now.

        `now` is the wall clock, in seconds. After the expiry, calls under way may go on for
        `limits.certificate_overrun_seconds`, the life of a token; new calls are not accepted.
        """
        overdue: dict[ClosableConnection, ClientInfo] = {}
        for peer_connections in self._open.values():
            for connection, peer in peer_connections.items():
                if now > peer.not_after + limits.certificate_overrun_seconds:
                    overdue[connection] = peer
                elif now > peer.not_after and connection not in self._drained:
                    self._drained.add(connection)
                    connection.drain()
        return overdue
