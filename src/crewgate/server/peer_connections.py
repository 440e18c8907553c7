"""The open connections that showed a certificate, by its key: whom to end, and when.

Ends nobody itself but to drain them. Does no I/O and reads no clock.
"""

from collections.abc import Callable, Collection
from typing import Protocol

from crewgate import limits
from crewgate.core.x509.certificate import revocable_by
from crewgate.server.connection_guard import Guest
from crewgate.server.recent_revocations import Barred
from crewgate.server.request import Peer


class Table(Protocol):
    """The shared table, as far as a certificate is concerned."""

    def is_revoked(self, key: bytes, issued_at: int = 0) -> bool:
        """Return whether `key` is revoked for what was issued at that second."""


class Guests:
    """The open connections of a process that showed a certificate, by its key in the table."""

    def __init__(self, on_first: Callable[[], None] = lambda: None) -> None:
        """`on_first` is called when a connection is admitted and there was none."""
        self._on_first = on_first
        self._open: dict[bytes, dict[Guest, Peer]] = {}
        self._keys: dict[Guest, bytes] = {}
        self._drained: set[Guest] = set()  # their certificate has ended
        self._revocable: dict[bytes, tuple[tuple[bytes, int], ...]] = {}  # by the first of them
        self.barred = Barred()

    def __len__(self) -> int:
        return len(self._keys)

    def enter(self, key: bytes, guest: Guest, peer: Peer) -> None:
        """Take a connection that is admitted."""
        if not self._keys:
            self._on_first()
        self._open.setdefault(key, {})[guest] = peer
        self._keys[guest] = key
        if peer.identity is not None and key not in self._revocable:
            self._revocable[key] = revocable_by(peer.identity, peer.serial, peer.issued)

    def leave(self, guest: Guest) -> None:
        """Forget a connection that has ended, if it is one of these."""
        key = self._keys.pop(guest, None)
        if key is None:
            return
        self._drained.discard(guest)
        guests = self._open[key]
        del guests[guest]
        if not guests:
            del self._open[key]
            self._revocable.pop(key, None)

    def doomed(self, keys: Collection[bytes]) -> dict[Guest, Peer]:
        """Return the connections of these certificates, and admit no more of them."""
        self.barred.add(keys)
        return {guest: peer for key in keys for guest, peer in self._open.get(key, {}).items()}

    def revoked(self, table: Table) -> dict[Guest, Peer]:
        """Return the connections whose certificate the table has revoked, or its orchestrator."""
        return self.doomed(
            [
                key
                for key in self._open
                if any(table.is_revoked(*by) for by in self._revocable.get(key, ((key, 0),)))
            ]
        )

    def at(self, listener: str) -> list[tuple[Guest, Peer]]:
        """Return the connections of a listener."""
        return [
            (guest, peer)
            for guests in self._open.values()
            for guest, peer in guests.items()
            if peer.listener == listener
        ]

    def drain_ended(self, now: float) -> dict[Guest, Peer]:
        """Let the connections end whose certificate has; return those that have had their time.

        `now` is the wall clock, in seconds. Calls under way go on for a token's life, no new one.
        """
        overdue: dict[Guest, Peer] = {}
        for guests in self._open.values():
            for guest, peer in guests.items():
                if now > peer.not_after + limits.certificate_overrun_seconds:
                    overdue[guest] = peer
                elif now > peer.not_after and guest not in self._drained:
                    self._drained.add(guest)
                    guest.drain()
        return overdue
