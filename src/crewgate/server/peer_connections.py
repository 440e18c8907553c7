"""The open connections that showed a certificate, by its key: whom to end, and when.

Ends nobody itself but to drain them. Does no I/O and reads no clock.
"""

from collections.abc import Callable, Collection
from typing import Protocol

from crewgate import limits
from crewgate.core.x509.certificate import revocable_by
from crewgate.server.connection_authorizer import AuthorizedConnection
from crewgate.server.recent_revocations import RecentRevocations
from crewgate.server.request import ClientInfo


class RevocationTable(Protocol):
    """The shared table, as far as a certificate is concerned."""

    def is_revoked(self, key: bytes, issued_at: int = 0) -> bool:
        """Return whether `key` is revoked for what was issued at that second."""


class PeerConnections:
    """The open connections of a process that showed a certificate, by its key in the table."""

    def __init__(self, on_first: Callable[[], None] = lambda: None) -> None:
        """`on_first` is called when a connection is admitted and there was none."""
        self._on_first = on_first
        self._open: dict[bytes, dict[AuthorizedConnection, ClientInfo]] = {}
        self._keys: dict[AuthorizedConnection, bytes] = {}
        self._drained: set[AuthorizedConnection] = set()  # their certificate has ended
        self._revocable: dict[bytes, tuple[tuple[bytes, int], ...]] = {}  # by the first of them
        self.recent_revocations = RecentRevocations()

    def __len__(self) -> int:
        return len(self._keys)

    def enter(self, key: bytes, connection: AuthorizedConnection, peer: ClientInfo) -> None:
        """Take a connection that is admitted."""
        if not self._keys:
            self._on_first()
        self._open.setdefault(key, {})[connection] = peer
        self._keys[connection] = key
        if peer.identity is not None and key not in self._revocable:
            self._revocable[key] = revocable_by(peer.identity, peer.serial, peer.issued)

    def leave(self, connection: AuthorizedConnection) -> None:
        """Forget a connection that has ended, if it is one of these."""
        key = self._keys.pop(connection, None)
        if key is None:
            return
        self._drained.discard(connection)
        peer_connections = self._open[key]
        del peer_connections[connection]
        if not peer_connections:
            del self._open[key]
            self._revocable.pop(key, None)

    def close_set(self, keys: Collection[bytes]) -> dict[AuthorizedConnection, ClientInfo]:
        """Return the connections of these certificates, and admit no more of them."""
        self.recent_revocations.add(keys)
        return {
            connection: peer for key in keys for connection, peer in self._open.get(key, {}).items()
        }

    def revoked(self, table: RevocationTable) -> dict[AuthorizedConnection, ClientInfo]:
        """Return the connections whose certificate the table has revoked, or its orchestrator."""
        return self.close_set(
            [
                key
                for key in self._open
                if any(table.is_revoked(*by) for by in self._revocable.get(key, ((key, 0),)))
            ]
        )

    def at(self, listener: str) -> list[tuple[AuthorizedConnection, ClientInfo]]:
        """Return the connections of a listener."""
        return [
            (connection, peer)
            for peer_connections in self._open.values()
            for connection, peer in peer_connections.items()
            if peer.listener == listener
        ]

    def drain_expired(self, now: float) -> dict[AuthorizedConnection, ClientInfo]:
        """Let the connections end whose certificate has; return those that have had their time.

        `now` is the wall clock, in seconds. Calls under way go on for a token's life, no new one.
        """
        overdue: dict[AuthorizedConnection, ClientInfo] = {}
        for peer_connections in self._open.values():
            for connection, peer in peer_connections.items():
                if now > peer.not_after + limits.certificate_overrun_seconds:
                    overdue[connection] = peer
                elif now > peer.not_after and connection not in self._drained:
                    self._drained.add(connection)
                    connection.drain()
        return overdue
