"""Who may speak at a listener at all: judged after the handshake, before the first byte is read.

The protocol between a connection and whoever knows crews. A listener without a guard admits every
client that shakes hands; what a client says is then all that is known of it.
"""

from typing import Protocol

from crewgate.core.verdict import PeerReason
from crewgate.server.request import ClientInfo


class AuthorizedConnection(Protocol):
    """A connection, as a guard sees it."""

    def abort(self) -> None:
        """End at once, and whatever is at work for it."""

    def drain(self, *, urgent: bool = True) -> None:
        """Let requests under way end, take no more."""


class ConnectionAuthorizer(Protocol):
    """Judges connections and remembers the admitted ones, to end them."""

    def refused(self, peer: ClientInfo, why: PeerReason) -> None:
        """Note a handshake that failed; `peer.certificate` is what was shown, unproven."""

    async def admit(self, peer: ClientInfo, connection: AuthorizedConnection) -> ClientInfo | None:
        """Return the peer as it may speak, or None; refusals are noted.

        `peer.certificate` is what the handshake proved, None if there was none. From then on the
        guest may be ended. May wait; the caller bounds it.
        """

    def leave(self, connection: AuthorizedConnection) -> None:
        """Forget an admitted connection that has ended."""
