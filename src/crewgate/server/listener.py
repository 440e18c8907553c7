"""Accepts connections on one listening socket, sweeps them every second, and drains them.

Each accept uses the TLS context of that moment, so a reload applies to the next connection. A
`PlaintextContext` takes its place for a listener without TLS. Every worker has its own socket on
the same address (SO_REUSEPORT), and the kernel spreads connections over them. This module knows no
HTTP: the caller provides the application.
"""

import errno
import logging
import math
import socket
import ssl
from email.utils import formatdate

import trio

from crewgate import limits
from crewgate._datapath.socket_poller import READABLE, SocketPoller
from crewgate.runtime.ticks import sleep_until_tick
from crewgate.server.connection import ClientConnection, TakerFactory
from crewgate.server.connection_authorizer import ClosableConnection, ConnectionAuthorizer
from crewgate.server.connection_limit import ConnectionLimiter
from crewgate.server.exchange import ExchangeHandler
from crewgate.server.handshake_diagnosis import CertificateCapturingSocket
from crewgate.server.listener_counters import ListenerCounters
from crewgate.server.plaintext import PlaintextContext, PlaintextSocket
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
    first. `nursery` runs the tasks of its connections, and has ended before `run` returns.
    `exhausted_at` is when accept last failed for lack of descriptors or memory (monotonic
    seconds; -inf: never).
    """

    def __init__(
        self,
        sock: socket.socket,
        context: ssl.SSLContext | PlaintextContext,
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
        self.nursery: trio.Nursery
        self.now = 0.0
        self.date = b""
        self._sock = sock
        self._accept_error: Exception | None = None
        self._is_retiring = False
        self._accept_ended = trio.Event()
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
        async with trio.open_nursery() as self.nursery:
            try:
                self.nursery.start_soon(self._sweep)
                await self._accept(task_status)
                if self.census:
                    await self._emptied.wait()
            finally:
                for connection in list(self.connections):
                    connection.abort()
            self.nursery.cancel_scope.cancel()

    async def retire(self, seconds: float) -> None:
        """Accept no more; let each connection end after its next response, for at most `seconds`.

        Use this if another process goes on to serve the address, so that there is no hurry. The
        connections that already wait in this socket are still served: closing it would reset them.
        """
        self._is_retiring = True
        self._end_accept()
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
        self._end_accept()
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

    def renew(self, context: ssl.SSLContext | PlaintextContext) -> None:
        """Use `context`, with another certificate, for new connections, and drain the old ones.

        Streams under way are not cut: each connection closes when it has no stream.
        """
        self.context = context
        for connection in self.connections:
            connection.drain(urgent=False)

    def closed(self, connection: ClientConnection) -> None:
        """Forget a connection, which is closed and has no task."""
        self.connections.discard(connection)
        self.handshaking.pop(connection, None)
        if self.authorizer is not None:
            self.authorizer.leave(connection)
        self._leave(connection.peer)

    async def _accept(self, task_status: trio.TaskStatus[None]) -> None:
        """Accept in the turns of the poller until `_end_accept`, then close the socket."""
        with self._sock:
            if not self._accept_ended.is_set():
                self.poller.watch(self._sock.fileno(), self._accept_waiting)
            try:
                task_status.started()
                await self._accept_ended.wait()
            finally:
                self.poller.forget(self._sock.fileno())
            if self._accept_error is not None:
                raise self._accept_error
            if self._is_retiring:
                self._accept_some(limits.backlog)
        self._accepted_all.set()

    def _end_accept(self) -> None:
        self.poller.forget(self._sock.fileno())
        self._accept_ended.set()

    def _accept_waiting(self, _events: int) -> bool:
        """Accept in a turn; return whether more connections may wait."""
        try:
            return self._accept_some(limits.turn_accepts_max)
        except Exception as error:  # noqa: BLE001 - `_accept` raises it
            self._accept_error = error
            self._end_accept()
            return False

    def _accept_some(self, count: int) -> bool:
        """Accept at most `count` of the connections that wait; return False if no more wait."""
        for _ in range(count):
            try:
                sock, address = self._sock.accept()
            except BlockingIOError:
                return False
            except OSError as error:
                if error.errno in _TRANSIENT_ERRORS:
                    continue
                if error.errno not in _EXHAUSTION_ERRORS:
                    raise
                self._pause(error)
                return False
            self._start(sock, ClientInfo(address[0], address[1]))
        return True

    def _pause(self, error: OSError) -> None:
        """Accept no connection for a moment, since there is no descriptor or memory for it."""
        self.exhausted_at = trio.current_time()
        _log.warning(
            "cannot accept on %s port %s: %s; check open-file limit and free memory",
            *self.address,
            error.strerror,
        )
        if not self._accept_ended.is_set():
            self.poller.change(self._sock.fileno(), 0)
            self.nursery.start_soon(self._resume_later)

    async def _resume_later(self) -> None:
        await trio.sleep(limits.accept_pause_seconds)
        if not self._accept_ended.is_set():
            self.poller.change(self._sock.fileno(), READABLE)

    def _start(self, sock: socket.socket, peer: ClientInfo) -> None:
        if not self.census.enter(peer.address):
            sock.close()
            return
        self.counters.connections_accepted += 1
        sock.settimeout(0)
        try:
            tls = self.context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        except OSError:
            sock.close()  # the client disconnected before the first byte
            self._leave(peer)
            return
        if not isinstance(tls, CertificateCapturingSocket | PlaintextSocket):
            raise TypeError("the TLS context was not made by `server_context`")
        connection = ClientConnection(tls, peer, self)
        self.connections.add(connection)
        self._admit_handshake(connection)
        if self._accept_ended.is_set():
            connection.drain(urgent=False)
        connection.open()

    def _leave(self, peer: ClientInfo) -> None:
        self.census.leave(peer.address)
        if not self.census:
            self._emptied.set()
            self._emptied = trio.Event()

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
            await self._sweep_connections()
            await sleep_until_tick(limits.sweep_seconds)

    async def _sweep_connections(self) -> None:
        """Sweep all connections, and keep none of them until the next time."""
        for number, connection in enumerate(list(self.connections), 1):
            connection.sweep(self.now)
            if not number % limits.sweep_connections:
                await trio.lowlevel.checkpoint()

    def _tick(self) -> None:
        self.now = trio.current_time()
        self.date = formatdate(usegmt=True).encode()
