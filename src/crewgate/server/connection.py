"""Serves one client connection: the handshake, then its protocol, and the end.

An error barrier surrounds each step: whatever a client sends ends at most its own connection, and
the worker goes on. `ClientSocket` reads and writes, and calls a method here after each step. So a
connection has no Trio task. A request has one if the application returns a coroutine for it, and an
admission if the authorizer does; they run in the listener's nursery. This module knows no HTTP.
"""

import enum
import logging
import math
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Protocol

import trio

from crewgate import limits
from crewgate._datapath.client_socket import ClientSocket
from crewgate._datapath.http2_protocol import RequestTaker
from crewgate._datapath.socket_poller import SocketPoller
from crewgate.errors import PeerError
from crewgate.server.exchange import Exchange, ExchangeHandler, ExchangeWork
from crewgate.server.handshake_diagnosis import CertificateCapturingSocket, failure_of
from crewgate.server.http1 import HTTP1
from crewgate.server.http2 import HTTP2
from crewgate.server.internal_error import respond_internal_error
from crewgate.server.plaintext import PlaintextSocket
from crewgate.server.protocol import WireProtocol
from crewgate.server.request import ClientInfo
from crewgate.server.tls_accept import ListenerHandshakeContext, enter

_log = logging.getLogger(__name__)


# Makes what takes requests of an HTTP/2 connection before they become exchanges.
TakerFactory = Callable[[ClientInfo], RequestTaker]


class ListenerContext(ListenerHandshakeContext, Protocol):
    """The parts of a listener that its connections use.

    `now` is in monotonic seconds, `date` the value of a Date field; the sweeper updates both. The
    tasks of connections run in `nursery`.
    """

    now: float
    date: bytes
    application: ExchangeHandler
    straight: TakerFactory | None
    poller: SocketPoller
    nursery: trio.Nursery

    def closed(self, connection: "ClientConnection") -> None:
        """Forget a connection, which is closed and has no task."""


class _Stage(enum.Enum):
    """The stage of a connection."""

    OPEN = enum.auto()  # from the handshake on, until `ended`
    ENDING = enum.auto()  # tasks of the client have yet to end
    LINGERING = enum.auto()
    CLOSED = enum.auto()


class ClientConnection(ClientSocket):
    """One client's connection, from handshake to close; the `ConnectionHost` of its protocol.

    Its methods never raise an Exception.
    """

    __slots__ = ("_deadline", "_is_aborted", "_is_draining", "_listener", "_scopes", "_stage")
    sock: CertificateCapturingSocket | PlaintextSocket

    def __init__(
        self,
        sock: CertificateCapturingSocket | PlaintextSocket,
        peer: ClientInfo,
        listener: ListenerContext,
    ) -> None:
        super().__init__(sock, peer, listener.poller)
        self._listener = listener
        self._scopes: set[trio.CancelScope] | None = None  # those of its tasks
        # In monotonic seconds: of the handshake and the admission, and later of the lingering.
        self._deadline = trio.current_time() + limits.handshake_seconds_max
        # A drain during the handshake takes effect when the protocol starts.
        self._is_draining = False
        self._is_aborted = False
        self._stage = _Stage.OPEN

    @property
    def is_unused(self) -> bool:
        """Whether no request has arrived yet."""
        return self.protocol is None or not self.protocol.requests

    def open(self) -> None:
        """Begin the handshake."""
        try:
            self.begin_handshake()
        except Exception:  # noqa: BLE001 - the barrier
            self.log_error()
            self.abort()

    def abort(self) -> None:
        """Close at once, and cancel all work for this client."""
        self._is_aborted = True
        self.stop()
        self._close_if_over()

    def drain(self, *, urgent: bool = True) -> None:
        """Close after the requests under way; see `WireProtocol.drain`."""
        if self.protocol is not None:
            self.protocol.drain(urgent=urgent)
        elif urgent:
            self.abort()
        self._is_draining = True

    def sweep(self, now: float) -> None:
        """End whatever is overdue at `now` (monotonic seconds)."""
        if now >= self._deadline:
            if not self.is_stopped:
                self._listener.counters.handshakes_slow += 1
            self.abort()
        if self.protocol is None or self.is_stopped:
            return
        is_unread = self.unsent_seconds() > limits.send_wait_seconds_max
        if is_unread:
            self._listener.counters.connections_unread += 1
        if is_unread or not self.protocol.sweep(now):
            self.abort()

    # `ConnectionHost`, for the protocol.

    def now(self) -> float:
        """Return the listener's coarse monotonic clock, in seconds."""
        return self._listener.now

    def date(self) -> bytes:
        """Return the value of a Date field."""
        return self._listener.date

    def dispatch(self, exchange: Exchange) -> None:
        """Call the application; if it returns a coroutine, run that as a task."""
        self.run(exchange, partial(self._listener.application, exchange))

    def run(self, exchange: Exchange, work: ExchangeWork) -> None:
        """Do work on an exchange; if it returns a coroutine, run that as a task."""
        try:
            coroutine = work()
        except Exception:  # noqa: BLE001 - the barrier
            _log.exception("failing a request from %s: internal error", self.peer.address)
            respond_internal_error(exchange)
            return
        if coroutine is None:
            return
        if self._stage is _Stage.CLOSED:
            coroutine.close()
        else:
            self._start_task(exchange.scope, _run_guarded(exchange, coroutine))

    # For the socket.

    def handshake_ended(self, error: Exception | None) -> None:
        """Ask the authorizer, or end the connection because of the error."""
        failure = None if error is None else failure_of(error)
        admission = enter(self.sock, failure, self.peer, self._listener, self)
        if admission is None or isinstance(admission, ClientInfo):
            self._admitted(admission)
        else:
            scope = trio.CancelScope()
            self._start_task(scope, self._await_admission(scope, admission))

    def ended(self) -> None:
        """Cancel what is under way for this client, and close once that has ended."""
        self._stage = _Stage.ENDING
        for scope in self._scopes or ():
            scope.cancel()
        self._close_if_over()

    def linger_ended(self) -> None:
        """Close, because the client has read all."""
        self._close()

    # Its steps.

    def _admitted(self, peer: ClientInfo | None) -> None:
        """Start the protocol for an admitted client, or close."""
        if self.is_stopped:
            return
        self._deadline = math.inf
        if peer is None:
            self.stop()
            return
        self.peer = peer
        protocol: WireProtocol
        if self.sock.selected_alpn_protocol() == "h2":
            protocol = http2 = HTTP2(self, self._listener.counters)
            if self._listener.straight is not None:
                http2.taker = self._listener.straight(self.peer)
        else:
            protocol = HTTP1(self, self._listener.counters)
        self.start(protocol)
        if self._is_draining:
            protocol.drain(urgent=False)
        self.wake()

    def _close_if_over(self) -> None:
        """Close a connection that has ended and has no task; first let its client read."""
        if self._scopes or self._stage in {_Stage.OPEN, _Stage.CLOSED}:
            return
        try:
            if self.protocol is not None:
                # A request's last task may have begun something since `stop`.
                self.protocol.lose()
            if not (self.peer_closed or self._is_aborted):
                if self._stage is _Stage.ENDING:
                    self.linger()
                    self._stage = _Stage.LINGERING
                    self._deadline = trio.current_time() + limits.linger_seconds_max
                return
        except OSError:
            pass  # the client has disconnected
        except Exception:  # noqa: BLE001 - the barrier
            self.log_error()
        self._close()

    def _close(self) -> None:
        self._stage = _Stage.CLOSED
        self._deadline = math.inf
        try:
            self.release()
        except Exception:  # noqa: BLE001 - the barrier
            self.log_error()
        self._listener.closed(self)

    # Its tasks.

    def _start_task(self, scope: trio.CancelScope, coroutine: Coroutine[None, None, None]) -> None:
        """Run a coroutine that enters `scope`, which the end of the connection cancels."""
        if self.is_stopped:
            scope.cancel()
        self._scopes = self._scopes or set()
        self._scopes.add(scope)
        self._listener.nursery.start_soon(self._run_task, scope, coroutine)

    async def _run_task(
        self, scope: trio.CancelScope, coroutine: Coroutine[None, None, None]
    ) -> None:
        try:
            await coroutine
        finally:
            self._scopes = (self._scopes or set()) - {scope} or None
            self._close_if_over()

    async def _await_admission(
        self, scope: trio.CancelScope, admission: Coroutine[None, None, ClientInfo | None]
    ) -> None:
        try:
            with scope:
                self._admitted(await admission)
        except Exception:  # noqa: BLE001 - the barrier
            self.log_error()
            self.abort()


async def _run_guarded(exchange: Exchange, coroutine: Coroutine[None, None, None]) -> None:
    """Run an application's coroutine inside the barrier of one request."""
    try:
        with exchange.scope:
            await coroutine
    except PeerError:
        pass
    except Exception:  # noqa: BLE001 - the barrier
        _log.exception("failing a request from %s: internal error", exchange.peer.address)
        exchange.watcher = None  # it observed for the coroutine, and responds to nothing else
    finally:
        # The coroutine has returned, and no observer will finish the response.
        if not exchange.done and exchange.watcher is None:
            respond_internal_error(exchange)
