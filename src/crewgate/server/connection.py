"""Runs one client connection: the handshake, then its protocol, and the end.

An error barrier surrounds it: whatever a client sends ends at most its own connection, and the
worker goes on. `ClientSocket` reads and writes. Each connection has one Trio task, for its
handshake and its end. A request has a task only if the application returns a coroutine for it. This
module knows no HTTP.
"""

import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Protocol

import trio

from crewgate import limits
from crewgate._datapath.client_socket import ClientSocket
from crewgate._datapath.http2_protocol import RequestTaker
from crewgate._datapath.socket_poller import SocketPoller
from crewgate.core import problems
from crewgate.errors import PeerError
from crewgate.server.auto_reset_event import AutoResetEvent
from crewgate.server.exchange import Exchange, ExchangeHandler, ExchangeWork
from crewgate.server.handshake_diagnosis import CertificateCapturingSocket, failure_of
from crewgate.server.http1 import HTTP1
from crewgate.server.http2 import HTTP2
from crewgate.server.lingering_close import linger
from crewgate.server.protocol import WireProtocol
from crewgate.server.request import ClientInfo
from crewgate.server.tls_accept import ListenerHandshakeContext, enter

_log = logging.getLogger(__name__)
_INTERNAL_ERROR = 2  # RFC 9113 §7


# Makes what takes requests of an HTTP/2 connection before they become exchanges.
TakerFactory = Callable[[ClientInfo], RequestTaker]


class ListenerContext(ListenerHandshakeContext, Protocol):
    """The parts of a listener that its connections use.

    `now` is in monotonic seconds, `date` the value of a Date field; the sweeper updates both.
    """

    now: float
    date: bytes
    application: ExchangeHandler
    straight: TakerFactory | None
    poller: SocketPoller


class ClientConnection(ClientSocket):
    """One client's connection, from handshake to close; the `ConnectionHost` of its protocol."""

    def __init__(
        self, sock: CertificateCapturingSocket, peer: ClientInfo, listener: ListenerContext
    ) -> None:
        self._ended = AutoResetEvent()
        super().__init__(sock, peer, listener.poller, self._ended.set)
        self.scope = trio.CancelScope()
        self._sock = sock
        self._listener = listener
        self._nursery: trio.Nursery | None = None
        # A drain during the handshake takes effect when the protocol starts.
        self._is_draining = False

    @property
    def is_unused(self) -> bool:
        """Whether no request has arrived yet."""
        return self.protocol is None or not self.protocol.requests

    async def serve(self) -> None:
        """Serve until the connection ends. Never raises an Exception."""
        try:
            with self.scope:
                await self._serve()
        except Exception:  # noqa: BLE001 - the barrier
            _log.exception("closing the connection from %s: internal error", self.peer.address)
        finally:
            self.stop()
            self._sock.close()
            self.forget_protocol()

    def abort(self) -> None:
        """Close at once, and cancel all work for this client."""
        if self.protocol is not None:
            self.protocol.lose()
        self.scope.cancel()

    def drain(self, *, urgent: bool = True) -> None:
        """Close after the requests under way; see `WireProtocol.drain`."""
        if self.protocol is not None:
            self.protocol.drain(urgent=urgent)
        elif urgent:
            self.abort()
        self._is_draining = True

    def sweep(self, now: float) -> None:
        """End whatever is overdue at `now` (monotonic seconds)."""
        if self.protocol is None:
            return  # `_serve` bounds the handshake
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
            _respond_internal_error(exchange)
            return
        if coroutine is not None and self._nursery is not None:
            self._nursery.start_soon(_run_guarded, exchange, coroutine)

    async def _serve(self) -> None:
        with trio.move_on_after(limits.handshake_seconds_max) as deadline:
            self.begin_handshake()
            await self._ended.wait()
            failure = None if self.is_secure else failure_of(self.handshake_error)
            peer = await enter(self._sock, failure, self.peer, self._listener, self)
        if deadline.cancelled_caught:
            self._listener.counters.handshakes_slow += 1
            return
        if peer is not None:
            self.peer = peer
            await self._run_protocol()
        if not self.peer_closed:
            await linger(self._sock)  # so that the last response or TLS alert arrives

    async def _run_protocol(self) -> None:
        protocol: WireProtocol
        if self._sock.selected_alpn_protocol() == "h2":
            protocol = http2 = HTTP2(self, self._listener.counters)
            if self._listener.straight is not None:
                http2.taker = self._listener.straight(self.peer)
        else:
            protocol = HTTP1(self, self._listener.counters)
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self.start(protocol)
            try:
                if self._is_draining:
                    protocol.drain(urgent=False)
                self.wake()
                await self._ended.wait()
            finally:
                self.stop()
                nursery.cancel_scope.cancel()
        # A request's last task may have begun something since `stop`.
        protocol.lose()


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
            _respond_internal_error(exchange)


def _respond_internal_error(exchange: Exchange) -> None:
    if exchange.started:
        exchange.reset(_INTERNAL_ERROR)
    else:
        exchange.respond(*problems.of_wire(500, exchange.request.headers))
