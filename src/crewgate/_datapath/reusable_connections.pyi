"""Holds the connections that may carry another call, by the reuse key of the calls they carry."""

from crewgate.upstream.interfaces import ReuseKey, UpstreamConnection

class ReusableConnections:
    """Connections that may carry another call.

    Connections under the key None have carried no call yet. `take` returns the last one used
    of a key, so that connections which no call needs stay unused and expire.
    """

    def __contains__(self, key: ReuseKey) -> bool: ...
    def add(self, connection: UpstreamConnection) -> None:
        """Add a connection as the last one used of its key."""
    def take(self, key: ReuseKey) -> UpstreamConnection | None:
        """Take out a connection that may carry a call of `key`; None if there is none."""
    def take_oldest(self, *excluded: ReuseKey | None, idle: bool) -> UpstreamConnection | None:
        """Take out a connection of the key that was used longest ago; skip `excluded` keys.

        If `idle`, skip connections that carry a call.
        """
    def discard(self, connection: UpstreamConnection) -> None:
        """Remove a connection, if it is there."""
