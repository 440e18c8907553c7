"""Connects to one server of an upstream: TCP, TLS, and the class for its protocol.

A connection is opened in turns of the poller, so it needs no Trio task. This module knows no calls;
the pool chooses the server.
"""

import logging
import os
import socket
import ssl
from collections.abc import Callable, Generator
from contextlib import suppress

import trio

from crewgate import limits
from crewgate._datapath.connection_pool import PoolCallbacks
from crewgate._datapath.http1_connection import HTTP1Connection
from crewgate._datapath.http2_connection import HTTP2Connection
from crewgate._datapath.socket_poller import READABLE, WRITABLE, SocketPoller
from crewgate.config import UpstreamConfig
from crewgate.core.delivery import OURS
from crewgate.errors import UpstreamError, UpstreamTimeoutError
from crewgate.runtime.cleanup import on_error
from crewgate.ssl_workarounds import forget_errors
from crewgate.upstream.balancer import Host, SocketAddress
from crewgate.upstream.error_isolation import run_isolated
from crewgate.upstream.interfaces import UpstreamConnection

_log = logging.getLogger(__name__)
# The socket, and the events of the poller that its next step waits for.
Wait = tuple[socket.socket, int]
Outcome = UpstreamConnection | UpstreamError


class Connector:
    """Connects to the servers of `upstream`, over TLS with `context` if that is not None."""

    def __init__(
        self, upstream: UpstreamConfig, poller: SocketPoller, context: ssl.SSLContext | None
    ) -> None:
        """`context` verifies name and chain."""
        self.upstream = upstream
        self.poller = poller
        self._context = context
        self._is_http2 = upstream.protocol == "h2"

    @property
    def calls_each(self) -> int:
        """How many calls one connection may carry at once."""
        return limits.upstream_streams_max if self._is_http2 else 1

    def begin(
        self,
        host: Host,
        pool: PoolCallbacks,
        on_end: Callable[["PendingConnection", Outcome], None],
    ) -> "PendingConnection":
        """Begin to connect to `host`; see `PendingConnection`."""
        return PendingConnection(self, host, pool, on_end)

    async def open(self, host: Host, pool: PoolCallbacks) -> UpstreamConnection:
        """Connect to `host`.

        Raises UpstreamError if that fails, and UpstreamTimeoutError if it takes longer than the
        upstream's `connect_seconds`.
        """
        ended, outcomes = trio.Event(), list[Outcome]()

        def take(_: PendingConnection, outcome: Outcome) -> None:
            outcomes.append(outcome)
            ended.set()

        pending = self.begin(host, pool, take)
        try:
            with trio.move_on_after(self.upstream.connect_seconds):
                await ended.wait()
            if not outcomes:
                pending.expire()
            (outcome,) = outcomes
        except BaseException:
            pending.cancel()
            for outcome in outcomes:
                if not isinstance(outcome, UpstreamError):
                    outcome.abort()
            raise
        if isinstance(outcome, UpstreamError):
            raise outcome
        return outcome

    def open_socket(self, host: Host) -> Generator[Wait, None, socket.socket]:
        """Connect a socket to `host`. Yield whenever that has to wait.

        Raises OSError. If the caller ends the generator early, it closes the socket.
        """
        sock = yield from _connect(host.address)
        if self._context is None:
            return sock
        return (yield from _secure(sock, self._context, self.upstream.server_name(host.endpoint)))

    def connection(
        self, sock: socket.socket, host: Host, pool: PoolCallbacks
    ) -> UpstreamConnection:
        """Return the connection over a connected socket.

        Raises UpstreamError, and closes the socket, if the server does not offer HTTP/2.
        """
        authority = self.upstream.authority(host.endpoint).encode()
        with on_error(sock.close):
            if not self._is_http2:
                return HTTP1Connection(sock, self.poller, pool, authority, host)
            if isinstance(sock, ssl.SSLSocket) and sock.selected_alpn_protocol() != "h2":
                raise UpstreamError(f"{host.name}: the server does not offer HTTP/2 in ALPN")
            return HTTP2Connection(sock, self.poller, pool, authority, host)


class PendingConnection:
    """A connection to `host` that is being opened.

    It ends once, and calls `on_end` with itself, and with the connection or the error. It does not
    do so before its constructor returns, or after `cancel`.
    """

    def __init__(
        self,
        connector: Connector,
        host: Host,
        pool: PoolCallbacks,
        on_end: Callable[["PendingConnection", Outcome], None],
    ) -> None:
        self._connector = connector
        self._host = host
        self._pool = pool
        self._on_end = on_end
        self._deadline = pool.now + connector.upstream.connect_seconds
        self._steps = connector.open_socket(host)
        self._watched = -1  # the descriptor that the poller watches
        self._events = 0
        self._is_over = False
        if (outcome := self._step()) is not None:
            connector.poller.at_end(lambda: self._end(outcome))

    def sweep(self, now: float) -> None:
        """Fail if the connection is overdue at `now` (monotonic seconds)."""
        if now > self._deadline:
            self.expire()

    def expire(self) -> None:
        """Fail with UpstreamTimeoutError."""
        seconds = self._connector.upstream.connect_seconds
        error = UpstreamTimeoutError(f"{self._host.name}: no connection within {seconds:g} s")
        self._end(error)

    def cancel(self) -> None:
        """Give up without a call of `on_end`; do nothing after the end."""
        self._is_over = True
        self._forget()
        self._steps.close()

    def _ready(self, _: int) -> bool:
        """Go on; return True if a step of TLS follows, which takes long."""
        outcome = self._step()
        if outcome is None:
            return True
        self._end(outcome)
        return False

    def _step(self) -> Outcome | None:
        """Take a step inside the barrier; return how the connection has ended, or None."""
        try:
            try:
                sock, events = next(self._steps)
            except StopIteration as last:
                self._forget()
                return self._connector.connection(last.value, self._host, self._pool)
            self._watch(sock.fileno(), events)
        except UpstreamError as error:
            return error
        except OSError as error:
            reason = getattr(error, "verify_message", "") or error.strerror or error
            return UpstreamError(f"{self._host.name}: {reason}")
        except Exception:  # noqa: BLE001 - the barrier
            _log.exception("cannot connect to %s: internal error", self._host.name)
            return UpstreamError(OURS)
        return None

    def _end(self, outcome: Outcome) -> None:
        if not self._is_over:
            self.cancel()
            run_isolated(self._on_end, self, outcome)

    def _watch(self, descriptor: int, events: int) -> None:
        if self._watched < 0:
            self._connector.poller.watch(descriptor, self._ready, events)
            self._watched = descriptor
        elif events != self._events:
            self._connector.poller.change(descriptor, events)
        self._events = events

    def _forget(self) -> None:
        watched, self._watched = self._watched, -1
        if watched >= 0:
            with suppress(OSError):  # a step that failed has closed the socket
                self._connector.poller.forget(watched)


def _connect(address: SocketAddress) -> Generator[Wait, None, socket.socket]:
    family, sockaddr = address
    sock = socket.socket(family, socket.SOCK_STREAM)
    with on_error(sock.close):
        sock.settimeout(0)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(BlockingIOError):
            sock.connect(sockaddr)
        yield sock, WRITABLE
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
    return sock


def _secure(
    sock: socket.socket, context: ssl.SSLContext, server_name: str
) -> Generator[Wait, None, ssl.SSLSocket]:
    # A close without close_notify is an error, or else a cut response that ends with its connection
    # would pass as complete.
    with on_error(sock.close):
        tls_sock = context.wrap_socket(
            sock,
            server_hostname=server_name,
            do_handshake_on_connect=False,
            suppress_ragged_eofs=False,
        )
    try:
        while True:
            try:
                tls_sock.do_handshake()
                return tls_sock
            except ssl.SSLWantReadError:
                yield tls_sock, READABLE
            except ssl.SSLWantWriteError:
                yield tls_sock, WRITABLE
    except BaseException:
        tls_sock.close()
        forget_errors()
        raise
