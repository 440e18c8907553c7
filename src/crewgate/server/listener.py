"""Accepts connections on one listening socket, sweeps them every second, and drains them.

Each accept uses the TLS context of that moment, so a reload applies to the next connection. Every
worker has its own socket on the same address (SO_REUSEPORT), and the kernel spreads connections
over them. This module knows no HTTP: the caller provides the application.
"""

import errno
import logging
import math
import socket
import ssl
from email.utils import formatdate

import trio

from crewgate import limits
from crewgate._datapath.socket_poller import SocketPoller
from crewgate.runtime.ticks import sleep_until_tick
from crewgate.server.connection import ClientConnection, TakerFactory
from crewgate.server.connection_authorizer import ClosableConnection, ConnectionAuthorizer
from crewgate.server.connection_limit import ConnectionLimiter
from crewgate.server.exchange import ExchangeHandler
from crewgate.server.handshake_diagnosis import CertificateCapturingSocket
from crewgate.server.listener_counters import ListenerCounters
from crewgate.server.request import ClientInfo

_log = logging.getLogger(__name__)
# accept(2) returns these for an error of the pending connection, not of the listening socket.
_TRANSIENT_ERRORS = {
    errno.ECONNABORTED,
    errno.EPROTO,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.EPERM,
}
_EXHAUSTION_ERRORS = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Listener:
    """Serves one listening socket until it is drained or cancelled.

    It is the `ListenerContext` of its connections. `context` may be replaced at any time.
    `connections` are all that are open, `handshaking` those that are not admitted yet, the oldest
    first. `exhausted_at` is when accept last failed for lack of descriptors or memory (monotonic
    seconds; -inf: never).
    """

    def __init__(
        self,
        sock: socket.socket,
        context: ssl.SSLContext,
        application: ExchangeHandler,
        poller: SocketPoller,
        authorizer: ConnectionAuthorizer | None = None,
        counters: ListenerCounters | None = None,
        straight: TakerFactory | None = None,
    ) -> None:
        """The caller runs `poller`. Without an `authorizer` every client is admitted.

        `straight` makes what takes requests of an HTTP/2 connection before `application` does.
        """
        self.context = context
        self.authorizer = authorizer
        self.application = application
        self.straight = straight
        self.poller = poller
        self.connections: set[ClientConnection] = set()
        self.handshaking: dict[ClosableConnection, None] = {}
        self.counters = counters or ListenerCounters()
        self.census = ConnectionLimiter(
            limits.connections_max, limits.connections_per_address_max, self.counters
        )
        self.exhausted_at = -math.inf
        self.now = 0.0
        self.date = b""
        self._sock = sock
        self._accepting = trio.CancelScope()
        self._is_retiring = False
        self._accepted_all = trio.Event()
        self._emptied = trio.Event()

    @property
    def address(self) -> tuple[str, int]:
        """The address and port of the listening socket."""
        host, port = self._sock.getsockname()[:2]
        return host, port

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Accept and serve until a drain is complete; report the start once accepting."""
        self._tick()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._sweep)
            with self._sock:
                with self._accepting:
                    task_status.started()
                    await self._accept(nursery)
                if self._is_retiring:
                    self._accept_pending(nursery)
            self._accepted_all.set()
            if self.census:
                await self._emptied.wait()
            nursery.cancel_scope.cancel()

    async def retire(self, seconds: float) -> None:
        """Accept no more; let each connection end after its next response, for at most `seconds`.

        Use this if another process goes on to serve the address, so that there is no hurry. The
        connections that already wait in this socket are still served: closing it would reset them.
        """
        self._is_retiring = True
        self._accepting.cancel()
        for connection in list(self.connections):
            connection.drain(urgent=False)
        await self._accepted_all.wait()
        with trio.move_on_after(seconds):
            if self.census:
                await self._emptied.wait()

    async def drain(self, seconds: float) -> None:
        """Accept no more; let requests under way end for at most `seconds`, then abort them.

        A client that has just connected gets `limits.drain_first_request_seconds` for its first
        request: it cannot know that this process ends.
        """
        self._accepting.cancel()
        with trio.move_on_after(seconds):
            for connection in list(self.connections):
                connection.drain(urgent=not connection.is_unused)
            with trio.move_on_after(limits.drain_first_request_seconds):
                if self.census:
                    await self._emptied.wait()
            for connection in list(self.connections):
                connection.drain()
            if self.census:
                await self._emptied.wait()
        for connection in list(self.connections):
            connection.abort()

    def renew(self, context: ssl.SSLContext) -> None:
        """Use `context`, with another certificate, for new connections, and drain the old ones.

        Streams under way are not cut: each connection closes when it has no stream.
        """
        self.context = context
        for connection in self.connections:
            connection.drain(urgent=False)

    async def _accept(self, nursery: trio.Nursery) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._sock)
            try:
                sock, address = self._sock.accept()
            except BlockingIOError:
                continue  # another process has accepted the connection
            except OSError as error:
                if error.errno not in _EXHAUSTION_ERRORS | _TRANSIENT_ERRORS:
                    raise
                if error.errno in _EXHAUSTION_ERRORS:
                    self.exhausted_at = trio.current_time()
                    _log.warning(
                        "cannot accept on %s port %s: %s; check open-file limit and free memory",
                        *self.address,
                        error.strerror,
                    )
                    await trio.sleep(limits.accept_pause_seconds)
                continue
            self._start(sock, address, nursery)

    def _accept_pending(self, nursery: trio.Nursery) -> None:
        for _ in range(limits.backlog):
            try:
                self._start(*self._sock.accept(), nursery)
            except OSError:
                return

    def _start(self, sock: socket.socket, address: tuple[str, int], nursery: trio.Nursery) -> None:
        if self.census.enter(address[0]):
            self.counters.connections_accepted += 1
            nursery.start_soon(self._serve, sock, ClientInfo(address[0], address[1]))
        else:
            sock.close()

    async def _serve(self, sock: socket.socket, peer: ClientInfo) -> None:
        try:
            await self._serve_counted(sock, peer)
        finally:
            self.census.leave(peer.address)
            if not self.census:
                self._emptied.set()
                self._emptied = trio.Event()

    async def _serve_counted(self, sock: socket.socket, peer: ClientInfo) -> None:
        sock.settimeout(0)
        try:
            tls = self.context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        except OSError:
            sock.close()  # the client disconnected before the first byte
            return
        if not isinstance(tls, CertificateCapturingSocket):
            raise TypeError("the TLS context was not made by `server_context`")
        connection = ClientConnection(tls, peer, self)
        self.connections.add(connection)
        self._admit_handshake(connection)
        if self._accepting.cancel_called:
            connection.drain(urgent=False)
        try:
            await connection.serve()
        finally:
            self.connections.discard(connection)
            self.handshaking.pop(connection, None)
            if self.authorizer is not None:
                self.authorizer.leave(connection)

    def _admit_handshake(self, connection: ClientConnection) -> None:
        """Add a connection that has yet to shake hands; if there are too many, abort the oldest.

        An honest client completes its handshake in milliseconds, so the oldest is likely one that
        sends nothing.
        """
        self.handshaking[connection] = None
        if len(self.handshaking) > self.census.handshakes_max:
            oldest = next(iter(self.handshaking))
            del self.handshaking[oldest]
            self.counters.handshakes_displaced += 1
            oldest.abort()

    async def _sweep(self) -> None:
        while True:
            self._tick()
            for number, connection in enumerate(list(self.connections), 1):
                connection.sweep(self.now)
                if not number % limits.sweep_connections:
                    await trio.lowlevel.checkpoint()
            await sleep_until_tick(limits.sweep_seconds)

    def _tick(self) -> None:
        self.now = trio.current_time()
        self.date = formatdate(usegmt=True).encode()
