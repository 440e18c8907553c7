"""Carries many calls at once over an HTTP/2 connection to a tool's server (RFC 9113)."""

from crewgate._datapath.http2_stream_host import HTTP2StreamHost
from crewgate.errors import UpstreamError
from crewgate.upstream.interfaces import CallObserver

class HTTP2Connection(HTTP2StreamHost):
    """One connection and the streams on it."""

    def is_usable(self, caller: CallObserver) -> bool:
        """Return whether a call may begin, and the server is not in the middle of a late frame.

        A call that the pool must not send twice uses only a connection that has been idle for a
        short time.
        """
    def carry(self, caller: CallObserver) -> None:
        """Begin a call. After the last free stream, tell the pool when a stream is free again."""
    def failed(self, error: UpstreamError) -> None:
        """Close the connection, and fail every call on it.

        A server that speaks HTTP/2 and then breaks the protocol is running. The response to one
        branch's call must not open the circuit for all branches (see `circuit_breaker`).
        """
