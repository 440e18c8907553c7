"""Connects to one server of an upstream: TCP, TLS, and the class for its protocol.

This module knows no calls; the pool chooses the server.
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
from crewgate.upstream.transport import TransportPoller, connect


class Connector:
    """Connects to the servers of `upstream`, over TLS with `context` if that is not None."""

    def __init__(
        self, upstream: UpstreamConfig, loop_hooks: TransportPoller, context: ssl.SSLContext | None
    ) -> None:
        self._upstream = upstream
        self._loop_hooks = loop_hooks
        self._context = context
        self._is_http2 = upstream.protocol == "h2"

    @property
    def calls_each(self) -> int:
        """How many calls one connection may carry at once."""
        return limits.upstream_streams_max if self._is_http2 else 1

    async def open(self, host: Host, pool: PoolCallbacks) -> UpstreamConnection:
        """Connect to `host`.

        Raises UpstreamError if that fails, and UpstreamTimeoutError if it takes longer than the
        upstream's `connect_seconds`.
        """
        upstream = self._upstream
        with trio.move_on_after(upstream.connect_seconds):
            try:
                server_name = upstream.server_name(host.endpoint)
                sock = await connect(host.address, self._context, server_name)
            except OSError as error:
                reason = getattr(error, "verify_message", "") or error.strerror or error
                raise UpstreamError(f"{host.name}: {reason}") from error
            return self._make_connection(sock, host, pool)
        seconds = upstream.connect_seconds
        raise UpstreamTimeoutError(f"{host.name}: no connection within {seconds:g} s")

    def _make_connection(
        self, sock: socket.socket, host: Host, pool: PoolCallbacks
    ) -> UpstreamConnection:
        authority = self._upstream.authority(host.endpoint).encode()
        if not self._is_http2:
            return HTTP1Connection(sock, self._loop_hooks, pool, authority, host)
        if isinstance(sock, ssl.SSLSocket) and sock.selected_alpn_protocol() != "h2":
            sock.close()
            raise UpstreamError(f"{host.name}: the server does not offer HTTP/2 in ALPN")
        return HTTP2Connection(sock, self._loop_hooks, pool, authority, host)
