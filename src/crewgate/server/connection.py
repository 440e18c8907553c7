"""One connection: handshake, a reader, a writer, a task per forwarded request, and a barrier.

Nothing that a client sends gets past the barrier: the connection ends, the worker goes on. Reads
and writes go to a non-blocking `SSLSocket` directly; with TLS 1.3 alone a write never needs a
read, except that OpenSSL may ask for one, which is obeyed. Knows no HTTP.
"""

import contextlib
import logging
import ssl
from collections.abc import Coroutine
from typing import Protocol

import trio

from crewgate import limits
from crewgate.errors import PeerError
from crewgate.server.exchange import Application, Exchange
from crewgate.server.http1 import HTTP1
from crewgate.server.http2 import HTTP2
from crewgate.server.protocol import WireProtocol
from crewgate.server.request import Peer
from crewgate.server.wakeup import Wakeup

_log = logging.getLogger(__name__)
_INTERNAL_ERROR = 2  # RFC 9113 §7


class Clock(Protocol):
    """What a listener lends its connections."""

    now: float  # monotonic seconds, moved on by the sweeper
    date: bytes  # the value of a Date field
    application: Application


class Connection:
    """A client's connection, from the handshake to its end. Is the `Host` of its protocol."""

    def __init__(self, sock: ssl.SSLSocket, peer: Peer, clock: Clock) -> None:
        self.peer = peer
        self.resume = Wakeup()
        self.scope = trio.CancelScope()
        self._sock = sock
        self._fd = sock.fileno()
        self._clock = clock
        self._protocol: WireProtocol | None = None
        self._nursery: trio.Nursery | None = None
        self._unsent = b""
        self._unsent_since = 0.0
        self._writable = Wakeup()
        self._reading = False
        self._peer_closed = False

    def __repr__(self) -> str:
        kind = "handshake" if self._protocol is None else type(self._protocol).__name__
        return f"<Connection {self.peer.address}:{self.peer.port} {kind}>"

    async def serve(self) -> None:
        """Serve until the connection ends, whatever the client does; never raises an Exception."""
        try:
            with self.scope:
                await self._serve()
        except Exception:  # noqa: BLE001 - the barrier
            _log.exception("connection from %s ended by an error of ours", self.peer.address)
        finally:
            self._sock.close()

    def abort(self) -> None:
        """End at once, and whatever is at work for this client."""
        if self._protocol is not None:
            self._protocol.lose()
        self.scope.cancel()

    def drain(self) -> None:
        """Let requests under way end, take no more."""
        if self._protocol is None:
            self.abort()
        else:
            self._protocol.drain()

    def sweep(self, now: float) -> None:
        """End what is overdue."""
        if self._protocol is None:
            return  # the handshake has its own deadline
        stalled = self._unsent and now - self._unsent_since > limits.send_wait_seconds_max
        if stalled or not self._protocol.sweep(now):
            self.abort()

    # The protocol's side.

    def now(self) -> float:
        """Return the listener's coarse clock."""
        return self._clock.now

    def date(self) -> bytes:
        """Return the listener's Date."""
        return self._clock.date

    def wake(self) -> None:
        """Have the writer flush; while the reader is at work it flushes by itself."""
        if not self._reading:
            self._writable.set()

    def dispatch(self, exchange: Exchange) -> None:
        """Hand a request to the application; a coroutine becomes a task in this connection."""
        try:
            work = self._clock.application(exchange)
        except Exception:  # noqa: BLE001 - the barrier
            _log.exception("a request ended by an error of ours")
            _fail(exchange)
            return
        if work is not None and self._nursery is not None:
            self._nursery.start_soon(_run, exchange, work)

    # Inside.

    async def _serve(self) -> None:
        with trio.move_on_after(limits.handshake_seconds_max):
            if not await self._shake_hands():
                return
        name = self._sock.selected_alpn_protocol()
        if self._sock.version() is None:
            return  # the deadline came first
        protocol: WireProtocol = HTTP2(self) if name == "h2" else HTTP1(self)
        self._protocol = protocol
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._write, protocol, nursery.cancel_scope)
            self.wake()
            await self._read(protocol)
            protocol.lose()
            nursery.cancel_scope.cancel()
        protocol.lose()
        if not self._peer_closed:
            await self._linger()

    async def _shake_hands(self) -> bool:
        """Return False if the client gave up or offered what we do not."""
        while True:
            try:
                self._sock.do_handshake()
                return True
            except ssl.SSLWantReadError:
                await trio.lowlevel.wait_readable(self._fd)
            except ssl.SSLWantWriteError:
                await trio.lowlevel.wait_writable(self._fd)
            except OSError:
                return False

    async def _read(self, protocol: WireProtocol) -> None:
        """Read until the client closes; one wait a read keeps the worker fair.

        A read takes a whole TLS record at least, so nothing is left inside OpenSSL to be missed.
        """
        while True:
            await trio.lowlevel.wait_readable(self._fd)
            try:
                data = self._sock.recv(limits.receive_bytes)
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLWantWriteError:
                # A key update must be answered while the socket is full; the writer has the fd.
                await trio.sleep(limits.accept_pause_seconds)
                continue
            except OSError:
                data = b""
            if not data:
                self._peer_closed = True
                return
            self._receive(protocol, data)
            while protocol.paused:
                await self.resume.wait()

    def _receive(self, protocol: WireProtocol, data: bytes) -> None:
        """Let the protocol work on what came, and write its answers in the same breath."""
        self._reading = True
        try:
            protocol.receive(data)
        finally:
            self._reading = False
        try:
            written = self._flush(protocol)
        except OSError:
            return  # the next read tells
        if not written or protocol.closing:
            self._writable.set()

    async def _write(self, protocol: WireProtocol, scope: trio.CancelScope) -> None:
        """Write whenever something is to be written; end the connection when it is over."""
        try:
            while not protocol.closing:
                await self._writable.wait()
                while not self._flush(protocol):
                    await trio.lowlevel.wait_writable(self._fd)
        except OSError:
            self._peer_closed = True
        protocol.lose()
        scope.cancel()

    def _flush(self, protocol: WireProtocol) -> bool:
        """Write what there is; False when the socket is full.

        What OpenSSL did not take must be offered again unchanged, so it is kept as it was.
        """
        while True:
            data = self._unsent or protocol.bytes_to_send()
            if not data:
                if protocol.sent_all():
                    continue
                return True
            try:
                sent = self._sock.send(data)
            except ssl.SSLWantWriteError:
                if not self._unsent:
                    self._unsent, self._unsent_since = data, self._clock.now
                return False
            self._unsent = data[sent:]
            self._unsent_since = self._clock.now

    async def _linger(self) -> None:
        """Close our side, then read on for a moment.

        Closing with unread input resets the connection, and a reset destroys what the client has
        not read yet (RFC 9112 §9.6).
        """
        with trio.move_on_after(limits.linger_seconds_max):
            with contextlib.suppress(OSError, ValueError):
                self._sock.unwrap()  # sends close_notify; the client's need not come
            plain = trio.socket.fromfd(self._fd, self._sock.family, self._sock.type)
            with plain:
                await _drain(plain)


async def _drain(sock: trio.socket.SocketType) -> None:
    try:
        sock.shutdown(trio.socket.SHUT_WR)
        while await sock.recv(limits.receive_bytes):
            pass
    except OSError:
        return


async def _run(exchange: Exchange, work: Coroutine[None, None, None]) -> None:
    """Run an application's coroutine; the barrier round one request."""
    try:
        with exchange.scope:
            await work
    except PeerError:
        pass
    except Exception:  # noqa: BLE001 - the barrier
        _log.exception("a request ended by an error of ours")
    finally:
        if not exchange.done:
            _fail(exchange)


def _fail(exchange: Exchange) -> None:
    if exchange.started:
        exchange.reset(_INTERNAL_ERROR)
    else:
        exchange.respond(500, ())
