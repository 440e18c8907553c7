"""One connection: handshake, then turns of reading and writing, and a barrier round it all.

Nothing that a client sends gets past the barrier: the connection ends, the worker goes on. Reads
and writes go to a non-blocking `SSLSocket` directly, when the poller says so; where OpenSSL asks a
write for a read, it is obeyed. A task belongs to the connection as a whole, for its handshake and
its end; a request has one only if its application asks for it. Knows no HTTP.
"""

import logging
import ssl
from collections.abc import Coroutine
from typing import Protocol

import trio

from crewgate import limits
from crewgate.core import problems
from crewgate.errors import ClientError
from crewgate.openssl import forget_errors
from crewgate.server.exchange import Exchange, ExchangeHandler
from crewgate.server.http1 import HTTP1
from crewgate.server.http2 import HTTP2
from crewgate.server.lingering_close import linger
from crewgate.server.poller import READABLE, WRITABLE, Poller
from crewgate.server.protocol import WireProtocol
from crewgate.server.request import ClientInfo
from crewgate.server.tls_accept import HandshakeContext, enter
from crewgate.server.tls_failure import ClientSocket
from crewgate.server.wakeup import WakeupEvent

_log = logging.getLogger(__name__)
_INTERNAL_ERROR = 2  # RFC 9113 §7


class ListenerContext(HandshakeContext, Protocol):
    """What a listener lends its connections."""

    now: float  # monotonic seconds, moved on by the sweeper
    date: bytes  # the value of a Date field
    application: ExchangeHandler
    poller: Poller


class ClientConnection:
    """A client's connection, from handshake to end; the `ConnectionHost` of its protocol."""

    def __init__(self, sock: ClientSocket, peer: ClientInfo, clock: ListenerContext) -> None:
        self.peer = peer
        self.scope = trio.CancelScope()
        self._sock = sock
        self._fd = sock.fileno()
        self._clock = clock
        self._poller = clock.poller
        self._protocol: WireProtocol | None = None
        self._nursery: trio.Nursery | None = None
        self._over = WakeupEvent()
        self._open = False  # whether the poller watches it
        self._events = READABLE
        self._unsent = b""
        self._unsent_since = 0.0
        self._write_is_due = False
        self._wants_write = False  # the socket is full, or a read waits for a write
        self._peer_closed = False
        self._is_drained = False  # in the midst of the handshake

    def __repr__(self) -> str:
        kind = "handshake" if self._protocol is None else type(self._protocol).__name__
        return f"<ClientConnection {self.peer.address}:{self.peer.port} {kind}>"

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

    def drain(self, *, urgent: bool = True) -> None:
        """Let requests under way end, take no more; see `WireProtocol.drain`."""
        if self._protocol is not None:
            self._protocol.drain(urgent=urgent)
        elif urgent:
            self.abort()
        self._is_drained = True

    def sweep(self, now: float) -> None:
        """End what is overdue."""
        if self._protocol is None:
            return  # the handshake has its own deadline
        is_unread = bool(self._unsent) and now - self._unsent_since > limits.send_wait_seconds_max
        self._clock.counters.connections_unread += is_unread
        if is_unread or not self._protocol.sweep(now):
            self.abort()

    # The protocol's side.

    def now(self) -> float:
        """Return the listener's coarse clock."""
        return self._clock.now

    def date(self) -> bytes:
        """Return the listener's Date."""
        return self._clock.date

    def wake(self) -> None:
        """Write what there is at the end of this turn."""
        if not self._write_is_due:
            self._write_is_due = True
            self._poller.write_at_end(self._write)

    def resume(self) -> None:
        """Read again what a paused protocol left unread."""
        self._choose_events()

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
            self._poller.yield_to_trio()

    async def _serve(self) -> None:
        with trio.move_on_after(limits.handshake_seconds_max) as timely:
            peer = await enter(self._sock, self.peer, self._clock, self)
        if timely.cancelled_caught:
            self._clock.counters.handshakes_slow += 1
            return
        if peer is not None:
            self.peer = peer
            await self._converse()
        if not self._peer_closed:
            await linger(self._sock)  # so that the last answer arrives, or the alert

    async def _converse(self) -> None:
        """Read and write until the connection is over."""
        kind = HTTP2 if self._sock.selected_alpn_protocol() == "h2" else HTTP1
        protocol: WireProtocol = kind(self, self._clock.counters)
        self._protocol = protocol
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._poller.watch(self._fd, self._ready)
            self._open = True
            try:
                if self._is_drained:
                    protocol.drain(urgent=False)
                self.wake()
                await self._over.wait()
            finally:
                self._stop()
                nursery.cancel_scope.cancel()
        protocol.lose()  # what a request's last task did

    def _ready(self, events: int) -> bool:
        """Read or write, as the poller says; the barrier. Returns whether a large body goes on."""
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
                self._end(peer_closed=True)  # reset while nothing was to be read
            if protocol.paused or self._wants_write or self._events != READABLE:
                self._choose_events()
        except Exception:  # noqa: BLE001 - the barrier
            self._fail()
        return is_bulk

    def _read(self, protocol: WireProtocol) -> bool:
        """Take what came; `limits.receive_bytes` a turn keep the worker fair.

        A read takes a whole TLS record, so OpenSSL keeps nothing that could be missed. After a full
        one in the midst of a body another is there, as a rule: it is read in the same turn.
        """
        left = limits.receive_bytes
        while left > 0:
            try:
                data = self._sock.recv(limits.receive_bytes)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLWantWriteError:
                self._wants_write = True  # a key update must be answered while the socket is full
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
            left -= len(data)
        if protocol.has_output:
            self.wake()
        return left < limits.receive_bytes

    def _choose_events(self) -> None:
        """Ask the poller for what can be worked on."""
        events = WRITABLE if self._wants_write else 0
        if (protocol := self._protocol) is not None and not protocol.paused:
            events |= READABLE
        if events != self._events and self._open:
            self._events = events
            self._poller.change(self._fd, events)

    def _write(self) -> None:
        """Write what there is; end the connection when that was the last of it."""
        self._write_is_due = False
        if (protocol := self._protocol) is None or self._wants_write or not self._open:
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
        """Write what there is; False when the socket is full.

        What OpenSSL did not take must be offered again unchanged, so it is kept as it was.
        """
        while True:
            data = self._unsent or protocol.bytes_to_send()
            if data:
                try:
                    sent = self._sock.send(data)
                except ssl.SSLWantWriteError:
                    if not self._unsent:
                        self._unsent, self._unsent_since = data, self._clock.now
                    return False
                self._unsent = data[sent:]
                self._unsent_since = self._clock.now
                if self._unsent or protocol.has_output:
                    continue
            if not protocol.sent_all():
                return True

    def _end(self, *, peer_closed: bool) -> None:
        """Read and write no more; the connection's task does the rest."""
        self._peer_closed = self._peer_closed or peer_closed
        self._stop()
        self._over.set()

    def _fail(self) -> None:
        _log.exception("connection from %s ended by an error of ours", self.peer.address)
        self._end(peer_closed=False)

    def _stop(self) -> None:
        if self._open:
            self._open = False
            self._poller.forget(self._fd)
        if self._protocol is not None:
            self._protocol.lose()


async def _run(exchange: Exchange, work: Coroutine[None, None, None]) -> None:
    """Run an application's coroutine; the barrier round one request."""
    try:
        with exchange.scope:
            await work
    except ClientError:
        pass
    except Exception:  # noqa: BLE001 - the barrier
        _log.exception("a request ended by an error of ours")
    finally:
        if not exchange.done and exchange.watcher is None:  # nobody works on it any more
            _fail(exchange)


def _fail(exchange: Exchange) -> None:
    if exchange.started:
        exchange.reset(_INTERNAL_ERROR)
    else:
        exchange.respond(*problems.of_wire(500, exchange.request.headers))
