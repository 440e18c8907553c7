"""Defines how a connection asks whether its client may use the listener.

The question comes after the handshake and before the first byte of HTTP is read. A listener without
an authorizer admits every client that completes the handshake.
"""

from collections.abc import Coroutine
from typing import Protocol

from crewgate.core.verdict import ConnectionRefusalReason
from crewgate.server.request import ClientInfo


class ClosableConnection(Protocol):
    """A connection that an authorizer may close."""

    def abort(self) -> None:
        """Close at once, and cancel all work for the client."""

    def drain(self, *, urgent: bool = True) -> None:
        """Close after the requests under way; see `WireProtocol.drain`."""


# The peer with its identity; None for a refusal, which is recorded; or a coroutine that returns
# either of them after a wait. The caller runs it as a task, and bounds the wait.
Admission = Coroutine[None, None, ClientInfo | None] | ClientInfo | None


class ConnectionAuthorizer(Protocol):
    """Decides which clients a listener admits, and can close their connections later."""

    def refused(self, peer: ClientInfo, reason: ConnectionRefusalReason) -> None:
        """Record a failed handshake.

        The client presented `peer.certificate` and did not prove that it holds the key.
        """

    def admit(self, peer: ClientInfo, connection: ClosableConnection) -> Admission:
        """Decide about a client.

        The handshake has proved `peer.certificate`; it is None if the client presented none. The
        authorizer may close an admitted connection at any time. It returns a coroutine only if it
        has to wait for an OCSP responder.
        """

    def leave(self, connection: ClosableConnection) -> None:
        """Forget a connection that has ended, if it was admitted."""
