"""Runs one client connection: the handshake, then reads and writes when the poller says so.

An error barrier surrounds it: whatever a client sends ends at most its own connection, and the
worker goes on. The connection reads and writes a non-blocking `SSLSocket` directly. If OpenSSL must
write before it can read, the connection waits until the socket takes bytes. Each connection has one
Trio task, for its handshake and its end. A request has a task only if the application returns a
coroutine for it. This module knows no HTTP.
"""

import logging
import ssl
from collections.abc import Coroutine
from functools import partial
from typing import Protocol

import trio

from crewgate import limits
from crewgate._datapath.socket_poller import READABLE, WRITABLE, SocketPoller
from crewgate.core import problems
from crewgate.errors import PeerError
from crewgate.server.auto_reset_event import AutoResetEvent
from crewgate.server.exchange import Exchange, ExchangeHandler, ExchangeWork
from crewgate.server.handshake_diagnosis import CertificateCapturingSocket
from crewgate.server.http1 import HTTP1
from crewgate.server.http2 import HTTP2
from crewgate.server.lingering_close import linger
from crewgate.server.protocol import WireProtocol
from crewgate.server.request import ClientInfo
from crewgate.server.tls_accept import ListenerHandshakeContext, enter
from crewgate.ssl_workarounds import forget_errors

_log = logging.getLogger(__name__)
_INTERNAL_ERROR = 2  # RFC 9113 §7


class ListenerContext(ListenerHandshakeContext, Protocol):
    """The parts of a listener that its connections use.

    `now` is in monotonic seconds, `date` the value of a Date field; the sweeper updates both.
    """

    now: float
    date: bytes
    application: ExchangeHandler
    poller: SocketPoller


class ClientConnection:
    """One client's connection, from handshake to close; the `ConnectionHost` of its protocol."""

    def __init__(
        self, sock: CertificateCapturingSocket, peer: ClientInfo, listener: ListenerContext
    ) -> None:
        self.peer = peer
        self.scope = trio.CancelScope()
        self._sock = sock
        self._fd = sock.fileno()
        self._listener = listener
        self._poller = listener.poller
        self._protocol: WireProtocol | None = None
        self._nursery: trio.Nursery | None = None
        self._ended = AutoResetEvent()
        self._is_watched = False
        self._events = READABLE
        self._unsent = b""
        self._unsent_since = 0.0
        self._write_is_due = False
        # The socket is full, or a read must wait for a write.
        self._wants_write = False
        self._peer_closed = False
        # A drain during the handshake takes effect when the protocol starts.
        self._is_draining = False
        self._has_request = False

    @property
    def is_unused(self) -> bool:
        """Whether no request has arrived yet."""
        return not self._has_request

    async def serve(self) -> None:
        """Serve until the connection ends. Never raises an Exception."""
        try:
            with self.scope:
                await self._serve()
        except Exception:  # noqa: BLE001 - the barrier
            _log.exception("closing the connection from %s: internal error", self.peer.address)
        finally:
            self._sock.close()

    def abort(self) -> None:
        """Close at once, and cancel all work for this client."""
        if self._protocol is not None:
            self._protocol.lose()
        self.scope.cancel()

    def drain(self, *, urgent: bool = True) -> None:
        """Close after the requests under way; see `WireProtocol.drain`."""
        if self._protocol is not None:
            self._protocol.drain(urgent=urgent)
        elif urgent:
            self.abort()
        self._is_draining = True

    def sweep(self, now: float) -> None:
        """End whatever is overdue at `now` (monotonic seconds)."""
        if self._protocol is None:
            return  # `_serve` bounds the handshake
        is_unread = bool(self._unsent) and now - self._unsent_since > limits.send_wait_seconds_max
        if is_unread:
            self._listener.counters.connections_unread += 1
        if is_unread or not self._protocol.sweep(now):
            self.abort()

    # `ConnectionHost`, for the protocol.

    def now(self) -> float:
        """Return the listener's coarse monotonic clock, in seconds."""
        return self._listener.now

    def date(self) -> bytes:
        """Return the value of a Date field."""
        return self._listener.date

    def wake(self) -> None:
        """Write the protocol's output at the end of this turn."""
        if not self._write_is_due:
            self._write_is_due = True
            self._poller.write_at_end(self._write)

    def resume(self) -> None:
        """Read again if the protocol is no longer paused."""
        self._choose_events()

    def dispatch(self, exchange: Exchange) -> None:
        """Call the application; if it returns a coroutine, run that as a task."""
        self._has_request = True
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
            peer = await enter(self._sock, self.peer, self._listener, self)
        if deadline.cancelled_caught:
            self._listener.counters.handshakes_slow += 1
            return
        if peer is not None:
            self.peer = peer
            await self._run_protocol()
        if not self._peer_closed:
            await linger(self._sock)  # so that the last response or TLS alert arrives

    async def _run_protocol(self) -> None:
        make_protocol = HTTP2 if self._sock.selected_alpn_protocol() == "h2" else HTTP1
        protocol: WireProtocol = make_protocol(self, self._listener.counters)
        self._protocol = protocol
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._poller.watch(self._fd, self._ready)
            self._is_watched = True
            try:
                if self._is_draining:
                    protocol.drain(urgent=False)
                self.wake()
                await self._ended.wait()
            finally:
                self._stop()
                nursery.cancel_scope.cancel()
        # A request's last task may have begun something since `_stop`.
        protocol.lose()

    def _ready(self, events: int) -> bool:
        """Read or write, inside the barrier; return whether more of a large body is likely."""
        protocol = self._protocol
        if protocol is None:
            return False
        is_bulk = bool(events & WRITABLE)
        try:
            if events & WRITABLE:
                self._wants_write = False
                self._write()
            if events & READABLE:
                is_bulk = self._read(protocol)
            elif events & ~WRITABLE:
                self._end(peer_closed=True)  # EPOLLERR or EPOLLHUP alone: a reset
            if protocol.paused or self._wants_write or self._events != READABLE:
                self._choose_events()
        except Exception:  # noqa: BLE001 - the barrier
            self._fail()
        return is_bulk

    def _read(self, protocol: WireProtocol) -> bool:
        """Read what has arrived; return whether more of a large body is likely.

        One turn reads about `limits.receive_bytes`, so that no connection holds up the others. A
        read takes a whole TLS record, so OpenSSL buffers no bytes that the poller does not see.
        After a full record of a body another one is usually there: the same turn reads it as well.
        """
        remaining = limits.receive_bytes
        while remaining > 0:
            try:
                data = self._sock.recv(limits.receive_bytes)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLWantWriteError:
                # OpenSSL must answer a TLS key update, and the socket is full.
                self._wants_write = True
                break
            except OSError:
                forget_errors()
                data = b""
            if not data:
                self._end(peer_closed=True)
                return False
            is_body = protocol.receive(data)
            if not is_body or len(data) < limits.bulk_bytes or protocol.paused:
                break
            remaining -= len(data)
        if protocol.has_output:
            self.wake()
        return remaining < limits.receive_bytes

    def _choose_events(self) -> None:
        """Have the poller report the events that this connection can act on."""
        events = WRITABLE if self._wants_write else 0
        if (protocol := self._protocol) is not None and not protocol.paused:
            events |= READABLE
        if events != self._events and self._is_watched:
            self._events = events
            self._poller.change(self._fd, events)

    def _write(self) -> None:
        """Write the protocol's output; end the connection after the last of it."""
        self._write_is_due = False
        if (protocol := self._protocol) is None or self._wants_write or not self._is_watched:
            return
        try:
            if not self._flush(protocol):
                self._wants_write = True
            elif protocol.closing:
                self._end(peer_closed=False)
            if self._wants_write or self._events != READABLE:
                self._choose_events()
        except OSError:
            forget_errors()
            self._end(peer_closed=True)
        except Exception:  # noqa: BLE001 - the barrier
            self._fail()

    def _flush(self, protocol: WireProtocol) -> bool:
        """Write the protocol's output; return False if the socket is full.

        OpenSSL requires that bytes which it did not take are offered again unchanged, so `_unsent`
        keeps them as they were.
        """
        while True:
            data = self._unsent or protocol.bytes_to_send()
            if data:
                try:
                    sent = self._sock.send(data)
                except ssl.SSLWantWriteError:
                    if not self._unsent:
                        self._unsent, self._unsent_since = data, self._listener.now
                    return False
                self._unsent = data[sent:]
                self._unsent_since = self._listener.now
                if self._unsent or protocol.has_output:
                    continue
            if not protocol.sent_all():
                return True

    def _end(self, *, peer_closed: bool) -> None:
        """Stop reading and writing; the connection's task does the rest."""
        self._peer_closed = self._peer_closed or peer_closed
        self._stop()
        self._ended.set()

    def _fail(self) -> None:
        _log.exception("closing the connection from %s: internal error", self.peer.address)
        self._end(peer_closed=False)

    def _stop(self) -> None:
        if self._is_watched:
            self._is_watched = False
            self._poller.forget(self._fd)
        if self._protocol is not None:
            self._protocol.lose()


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
