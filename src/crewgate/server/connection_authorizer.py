"""Defines how a connection asks whether its client may use the listener.

The question comes after the handshake and before the first byte of HTTP is read. A listener without
an authorizer admits every client that completes the handshake.
"""

from typing import Protocol

from crewgate.core.verdict import ConnectionRefusalReason
from crewgate.server.request import ClientInfo


class ClosableConnection(Protocol):
    """A connection that an authorizer may close."""

    def abort(self) -> None:
        """Close at once, and cancel all work for the client."""

    def drain(self, *, urgent: bool = True) -> None:
        """Close after the requests under way; see `WireProtocol.drain`."""


class ConnectionAuthorizer(Protocol):
    """Decides which clients a listener admits, and can close their connections later."""

    def refused(self, peer: ClientInfo, reason: ConnectionRefusalReason) -> None:
        """Record a failed handshake.

        The client presented `peer.certificate` and did not prove that it holds the key.
        """

    async def admit(self, peer: ClientInfo, connection: ClosableConnection) -> ClientInfo | None:
        """Return the peer with its identity, or None for a refusal, which is recorded.

        The handshake has proved `peer.certificate`; it is None if the client presented none. The
        authorizer may close an admitted connection at any time. This call may wait for an OCSP
        responder; the caller bounds the wait.
        """

    def leave(self, connection: ClosableConnection) -> None:
        """Forget a connection that has ended, if it was admitted."""
