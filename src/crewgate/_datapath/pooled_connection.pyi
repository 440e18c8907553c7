"""The part of a connection to a tool's server that HTTP/1.1 and HTTP/2 have in common."""

import socket

from crewgate._datapath.connection_pool import PoolCallbacks
from crewgate._datapath.socket_poller import SocketPoller
from crewgate._datapath.transport import Transport, TransportProtocol
from crewgate.errors import UpstreamError
from crewgate.upstream.balancer import Host
from crewgate.upstream.interfaces import CallObserver, ReuseKey

class PooledConnection(TransportProtocol):
    """One connection; an `UpstreamConnection` and a `TransportCallbacks`. Only native code subclasses it.

    - `authority`: that of its requests
    - `reuse_key`: the key of the calls that it has carried; None before the first
    """

    reuse_key: ReuseKey | None

    def __init__(
        self,
        sock: socket.socket,
        poller: SocketPoller,
        pool: PoolCallbacks,
        authority: bytes,
        host: Host,
    ) -> None: ...
    @property
    def host(self) -> Host: ...
    @property
    def authority(self) -> bytes: ...
    @property
    def pool(self) -> PoolCallbacks: ...
    @property
    def transport(self) -> Transport: ...
    @property
    def free_streams(self) -> int:
        """How many further calls the connection may carry now."""
    @property
    def is_idle(self) -> bool:
        """Whether the connection carries no call."""
    def is_usable(self, caller: CallObserver) -> bool:
        """Return whether the connection seems alive, as far as this call needs to know."""
    def carry(self, caller: CallObserver) -> None:
        """Begin a call."""
    def sweep(self, now: float) -> None:
        """Fail calls that are overdue at `now`; close the connection if unused for too long.

        A straight call whose answer has begun becomes an ordinary one.
        """
    def close(self) -> None:
        """Close at once if idle, otherwise after the last call."""
    def abort(self, reason: str = ...) -> None:
        """Close, and fail the calls under way."""

    # `TransportCallbacks`, for the transport.

    def received(self, data: bytes) -> None:
        """Parse bytes from the server. Raises UpstreamError."""
    def drained(self) -> None:
        """Write more, or ask a caller that waits for more of its body."""
    def closed(self, error: OSError | None) -> None:
        """End a response whose end the close marks; fail the other calls."""
    def failed(self, error: UpstreamError) -> None:
        """Close the connection, and fail every call on it."""
