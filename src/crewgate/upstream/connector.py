"""Connects to one server of an upstream: TCP, TLS, and the class for its protocol.

This module knows no calls; the pool chooses the server.
"""

import os
import socket
import ssl

import trio

from crewgate import limits
from crewgate._datapath.connection_pool import PoolCallbacks
from crewgate._datapath.http1_connection import HTTP1Connection
from crewgate._datapath.http2_connection import HTTP2Connection
from crewgate._datapath.socket_poller import SocketPoller
from crewgate.config import UpstreamConfig
from crewgate.errors import UpstreamError, UpstreamTimeoutError
from crewgate.runtime.cleanup import on_error
from crewgate.ssl_workarounds import forget_errors
from crewgate.upstream.balancer import Host, SocketAddress
from crewgate.upstream.interfaces import UpstreamConnection


class Connector:
    """Connects to the servers of `upstream`, over TLS with `context` if that is not None."""

    def __init__(
        self, upstream: UpstreamConfig, poller: SocketPoller, context: ssl.SSLContext | None
    ) -> None:
        self._upstream = upstream
        self._poller = poller
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
                sock = await _connect(host.address, self._context, server_name)
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
            return HTTP1Connection(sock, self._poller, pool, authority, host)
        if isinstance(sock, ssl.SSLSocket) and sock.selected_alpn_protocol() != "h2":
            sock.close()
            raise UpstreamError(f"{host.name}: the server does not offer HTTP/2 in ALPN")
        return HTTP2Connection(sock, self._poller, pool, authority, host)


async def _connect(
    address: SocketAddress, context: ssl.SSLContext | None, server_name: str
) -> socket.socket:
    """Connect to one address; if `context` is given, over TLS to `server_name`.

    The context verifies name and chain. The caller bounds the wait. Raises OSError.
    """
    family, sockaddr = address
    sock = await _open(socket.socket(family, socket.SOCK_STREAM), sockaddr)
    return sock if context is None else await _secure(sock, context, server_name)


async def _open(sock: socket.socket, sockaddr: object) -> socket.socket:
    with on_error(sock.close):
        sock.settimeout(0)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            sock.connect(sockaddr)  # type: ignore[arg-type]  # the form that getaddrinfo returned
        except BlockingIOError:
            await trio.lowlevel.wait_writable(sock)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise OSError(code, os.strerror(code)) from None
    return sock


async def _secure(sock: socket.socket, context: ssl.SSLContext, server_name: str) -> ssl.SSLSocket:
    # A close without close_notify is an error, or else a cut response that ends with its connection
    # would pass as complete.
    tls_sock = context.wrap_socket(
        sock, server_hostname=server_name, do_handshake_on_connect=False, suppress_ragged_eofs=False
    )
    try:
        while True:
            try:
                tls_sock.do_handshake()
                return tls_sock
            except ssl.SSLWantReadError:
                await trio.lowlevel.wait_readable(tls_sock)
            except ssl.SSLWantWriteError:
                await trio.lowlevel.wait_writable(tls_sock)
    except BaseException:
        tls_sock.close()
        forget_errors()
        raise
