"""A listening socket and its connections: accept, sweep, drain.

Refuses to know HTTP and the application, which is handed over. The TLS context is looked up at
every accept, so that a reload serves the next connection. Every worker has a socket of its own on
the same address (SO_REUSEPORT), and the kernel spreads connections over them.
"""

import errno
import logging
import math
import socket
import ssl
from email.utils import formatdate

import trio

from crewgate import limits
from crewgate.server.connection import ClientConnection
from crewgate.server.connection_authorizer import AuthorizedConnection, ConnectionAuthorizer
from crewgate.server.connection_limit import ConnectionLimiter
from crewgate.server.counters import Counters
from crewgate.server.exchange import ExchangeHandler
from crewgate.server.poller import Poller
from crewgate.server.request import ClientInfo
from crewgate.server.tls_failure import ClientSocket

_log = logging.getLogger(__name__)
# accept(2): errors of the connection that was to be accepted, not of the socket.
_PASSING = {
    errno.ECONNABORTED,
    errno.EPROTO,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.EPERM,
}
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Listener:
    """Serves `sock` with `application` until it is drained or cancelled.

    `context` may be replaced at any time. Is the `Clock` of its connections.
    """

    def __init__(
        self,
        sock: socket.socket,
        context: ssl.SSLContext,
        application: ExchangeHandler,
        poller: Poller,
        guard: ConnectionAuthorizer | None = None,
    ) -> None:
        """`poller` is run by whoever made it."""
        self.context = context
        self.guard = guard
        self.application = application
        self.poller = poller
        self.connections: set[ClientConnection] = set()
        self.handshaking: dict[AuthorizedConnection, None] = {}
        self.counters = Counters()
        self.census = ConnectionLimiter(
            limits.connections_max, limits.connections_per_address_max, self.counters
        )
        self.handshakes = trio.CapacityLimiter(limits.handshakes_at_once)
        self.exhausted_at = -math.inf  # when there was last no descriptor for a connection
        self.now = 0.0
        self.date = b""
        self._sock = sock
        self._accepting = trio.CancelScope()
        self._is_retiring = False
        self._accepted_all = trio.Event()
        self._emptied = trio.Event()

    @property
    def address(self) -> tuple[str, int]:
        """The address and port that are listened on."""
        host, port = self._sock.getsockname()[:2]
        return host, port

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Accept and serve; returns after a drain. Started when connections are accepted."""
        self._tick()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._sweep)
            with self._sock:
                with self._accepting:
                    task_status.started()
                    await self._accept(nursery)
                if self._is_retiring:
                    self._take_waiting(nursery)
            self._accepted_all.set()
            if self.census:
                await self._emptied.wait()
            nursery.cancel_scope.cancel()

    async def retire(self, seconds: float) -> None:
        """Accept no more; each connection ends with its next answer, or after `seconds`.

        For a listener whose address another process goes on to serve, so there is no hurry. What
        waits in a socket of its own is served: it would be reset when that closes.
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
        """Accept no more, let requests under way end for at most `seconds`, then end them."""
        self._accepting.cancel()
        for connection in list(self.connections):
            connection.drain()
        with trio.move_on_after(seconds):
            if self.census:
                await self._emptied.wait()
        for connection in list(self.connections):
            connection.abort()

    def renew(self, context: ssl.SSLContext) -> None:
        """Show another certificate; connections that saw the old one end when they are idle.

        Streams under way have their time: each connection ends in its own.
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
                continue  # another worker was faster
            except OSError as error:
                if error.errno not in _EXHAUSTED | _PASSING:
                    raise
                if error.errno in _EXHAUSTED:
                    self.exhausted_at = trio.current_time()
                    _log.warning("no new connection: %s", error.strerror)
                    await trio.sleep(limits.accept_pause_seconds)
                continue
            self._take(sock, address, nursery)

    def _take_waiting(self, nursery: trio.Nursery) -> None:
        """Take the connections that the kernel has made and that no process has accepted."""
        for _ in range(limits.backlog):
            try:
                self._take(*self._sock.accept(), nursery)
            except OSError:
                return

    def _take(self, sock: socket.socket, address: tuple[str, int], nursery: trio.Nursery) -> None:
        if self.census.enter(address[0]):
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
            secure = self.context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        except OSError:
            sock.close()  # gone before the first byte
            return
        if not isinstance(secure, ClientSocket):
            raise TypeError("a context of this package makes sockets of its own")
        connection = ClientConnection(secure, peer, self)
        self.connections.add(connection)
        self._welcome(connection)
        if self._is_retiring:
            connection.drain(urgent=False)
        try:
            await connection.serve()
        finally:
            self.connections.discard(connection)
            self.handshaking.pop(connection, None)
            if self.guard is not None:
                self.guard.leave(connection)

    def _welcome(self, connection: ClientConnection) -> None:
        """Take one more who has yet to shake hands; the oldest of too many makes room.

        Whoever means it is done in milliseconds: it is the silent ones that grow old.
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
            await trio.sleep(limits.sweep_seconds)

    def _tick(self) -> None:
        self.now = trio.current_time()
        self.date = formatdate(usegmt=True).encode()
