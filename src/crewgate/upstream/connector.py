"""How a connection to one server is made: address, TLS, and the protocol that is spoken.

Knows neither calls nor which server is wanted.
"""

import socket
import ssl

import trio

from crewgate import limits
from crewgate.config import UpstreamConfig
from crewgate.errors import UpstreamError, UpstreamTimeoutError
from crewgate.upstream.balancer import Host
from crewgate.upstream.http1 import HTTP1Connection
from crewgate.upstream.http2 import HTTP2Connection
from crewgate.upstream.interfaces import PoolCallbacks, UpstreamConnection
from crewgate.upstream.transport import EventLoopHooks, connect


class Connector:
    """Makes connections to the servers of `upstream`; `context` is what https is checked with."""

    def __init__(
        self, upstream: UpstreamConfig, loop_hooks: EventLoopHooks, context: ssl.SSLContext | None
    ) -> None:
        self._upstream = upstream
        self._loop_hooks = loop_hooks
        self._context = context
        self._is_http2 = upstream.protocol == "h2"

    @property
    def calls_each(self) -> int:
        """How many calls a connection may carry at once."""
        return limits.upstream_streams_max if self._is_http2 else 1

    async def open(self, member: Host, owner: PoolCallbacks) -> UpstreamConnection:
        """Connect; UpstreamError if that is impossible, UpstreamTimeoutError if it takes long."""
        upstream, endpoint = self._upstream, member.endpoint
        place = f"{endpoint.authority} at {member.address.sockaddr[0]}"
        with trio.move_on_after(upstream.connect_seconds):
            try:
                name = upstream.server_name(endpoint)
                sock = await connect(member.address, self._context, name)
            except OSError as error:
                reason = getattr(error, "verify_message", "") or error.strerror or error
                raise UpstreamError(f"{place}: {reason}") from error
            return self._speak(sock, member, owner, place)
        raise UpstreamTimeoutError(f"{place} did not accept a connection in time")

    def _speak(
        self, sock: socket.socket, member: Host, owner: PoolCallbacks, place: str
    ) -> UpstreamConnection:
        authority = self._upstream.authority(member.endpoint).encode()
        if not self._is_http2:
            return HTTP1Connection(sock, self._loop_hooks, owner, authority, member)
        if isinstance(sock, ssl.SSLSocket) and sock.selected_alpn_protocol() != "h2":
            sock.close()
            raise UpstreamError(f"{place} does not speak HTTP/2")
        return HTTP2Connection(sock, self._loop_hooks, owner, authority, member)
