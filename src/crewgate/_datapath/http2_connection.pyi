"""Carries many calls at once over an HTTP/2 connection to a tool's server (RFC 9113)."""

import socket

from crewgate._datapath.connection_pool import PoolCallbacks
from crewgate._datapath.http2_stream_host import HTTP2StreamHost
from crewgate._datapath.socket_poller import SocketPoller
from crewgate.errors import UpstreamError
from crewgate.upstream.balancer import Host
from crewgate.upstream.interfaces import CallObserver, ReuseKey

class HTTP2Connection(HTTP2StreamHost):
    """One connection and the streams on it; an `UpstreamConnection` and a `TransportCallbacks`."""

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
    def free_streams(self) -> int: ...
    @property
    def is_idle(self) -> bool: ...
    def is_usable(self, caller: CallObserver) -> bool:
        """Return whether a call may begin, and the server is not in the middle of a late frame.

        A call that the pool must not send twice uses only a connection that has been idle for a
        short time.
        """
    def carry(self, caller: CallObserver) -> None:
        """Begin a call. After the last free stream, tell the pool when a stream is free again."""
    def sweep(self, now: float) -> None:
        """Fail calls that are overdue at `now`; close the connection if unused for too long."""
    def close(self) -> None: ...
    def abort(self, reason: str = ...) -> None: ...
    def received(self, data: bytes) -> None:
        """Parse bytes from the server. Raises UpstreamError."""
    def drained(self) -> None: ...
    def closed(self, error: OSError | None) -> None:
        """Fail the calls under way, because the server closed the connection or it broke."""
    def failed(self, error: UpstreamError) -> None:
        """Close the connection, and fail every call on it.

        A server that speaks HTTP/2 and then breaks the protocol is running. The response to one
        branch's call must not open the circuit for all branches (see `circuit_breaker`).
        """
