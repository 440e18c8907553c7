"""Serves one connection of CMD: plain HTTP/1.1, or HTTP/2 with prior knowledge (RFC 9113 §3.3).

It reads and writes in turns of the poller, so that a request needs no Trio task. An error ends this
connection and no other. If CMD closes only its sending direction, the open requests still get their
responses.
"""

import logging
import select
import socket
from collections.abc import Sequence
from typing import Protocol

import trio

from crewgate import limits
from crewgate._datapath.socket_poller import READABLE, WRITABLE, SocketPoller
from crewgate.core.http_types import HeaderField
from crewgate.server.exchange import Exchange, ExchangeHandler, ExchangeWork
from crewgate.server.http1 import HTTP1
from crewgate.server.http2 import HTTP2
from crewgate.server.http2_stream import HTTP2Exchange
from crewgate.server.internal_error import respond_internal_error
from crewgate.server.protocol import WireProtocol
from crewgate.server.request import ClientInfo

_log = logging.getLogger(__name__)
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HTTP, _HTTPS = (b":scheme", b"http"), (b":scheme", b"https")
_LOCAL = b":authority", b"localhost"
_CMD = ClientInfo("CMD")


class ConnectionClock(Protocol):
    """The time, as far as connections need it; its owner updates it once a second.

    `now` is in monotonic seconds, `date` the value of a Date field.
    """

    now: float
    date: bytes


class _PlainHTTP2(HTTP2):
    """HTTP/2 with prior knowledge, whose requests have the scheme http (RFC 9113 §3.3).

    The authority is not forwarded. gRPC writes the path of the socket there, with percent signs.
    """

    def new_exchange(
        self,
        stream: int,
        fields: Sequence[HeaderField],
        ends: bool,  # noqa: FBT001 - as in the base class
    ) -> HTTP2Exchange | None:
        """Return the exchange of a request; the gateway gets it over https."""
        usual = [
            _HTTPS if field == _HTTP else _LOCAL if _is_path(field) else field for field in fields
        ]
        return super().new_exchange(stream, usual, ends)


def _is_path(field: HeaderField) -> bool:
    return field[0] == _LOCAL[0] and b"%" in field[1]


class LocalConnection:
    """One connection over `sock`, which the caller closes; the `ConnectionHost` of its protocol."""

    peer = _CMD

    def __init__(
        self,
        sock: socket.socket,
        poller: SocketPoller,
        clock: ConnectionClock,
        application: ExchangeHandler,
    ) -> None:
        sock.settimeout(0)
        self._sock = sock
        self._poller = poller
        self._clock = clock
        self._application = application
        self._protocol: WireProtocol | None = None
        self._first = b""
        self._unsent = memoryview(b"")
        self._unsent_since = 0.0
        self._opened = clock.now
        self._events = READABLE
        self._has_ended = False  # CMD sends nothing more
        self._will_write = False
        self._over = trio.Event()

    async def serve(self) -> None:
        """Serve until either side closes."""
        if self._over.is_set():
            return
        self._poller.watch(self._sock.fileno(), self._ready)
        try:
            await self._over.wait()
        finally:
            self._end()

    def sweep(self) -> None:
        """End what is overdue."""
        now, protocol = self._clock.now, self._protocol
        try:
            if protocol is None:
                is_late = now - self._opened > limits.idle_seconds_max
            else:
                is_late = not protocol.sweep(now)
            if self._unsent and now - self._unsent_since > limits.send_wait_seconds_max:
                is_late = True
        except Exception:  # noqa: BLE001 - the barrier
            self._fail()
            return
        if is_late:
            self._end()

    # `ConnectionHost`, for the protocol.

    def now(self) -> float:
        """Return the coarse monotonic clock, in seconds."""
        return self._clock.now

    def date(self) -> bytes:
        """Return the value of a Date field."""
        return self._clock.date

    def dispatch(self, exchange: Exchange) -> None:
        """Call the application with a request."""
        self.run(exchange, lambda: self._application(exchange))

    def run(self, exchange: Exchange, work: ExchangeWork) -> None:
        """Do work on an exchange, which has no coroutine here."""
        try:
            coroutine = work()
            if coroutine is not None:
                coroutine.close()
                raise TypeError("the sidecar serves no coroutine")  # noqa: TRY301
        except Exception:  # noqa: BLE001 - the barrier
            _log.exception("failing a request of CMD: internal error")
            respond_internal_error(exchange)

    def wake(self) -> None:
        """Write at the end of this turn."""
        if not self._will_write and not self._over.is_set():
            self._will_write = True
            self._poller.write_at_end(self._write)

    def resume(self) -> None:
        """Check again whether the protocol is paused."""
        self._watch()

    # Turns.

    def _ready(self, events: int) -> bool:
        try:
            if events & (select.EPOLLHUP | select.EPOLLERR):
                self._end()
                return False
            if events & WRITABLE:
                self._write()
            return bool(events & READABLE) and self._read()
        except OSError:
            self._end()
        except Exception:  # noqa: BLE001 - the barrier
            self._fail()
        return False

    def _read(self) -> bool:
        """Read once; return whether more of a body is likely to follow."""
        protocol = self._protocol
        if protocol is not None and protocol.paused:
            self._watch()
            return False
        try:
            data = self._sock.recv(limits.receive_bytes)
        except BlockingIOError:
            return False
        if not data:
            self._ends_input()
            return False
        if protocol is None:
            protocol, data = self._start(data)
            if protocol is None:
                return False
        has_more = protocol.receive(data)
        if protocol.has_output:
            self.wake()
        self._watch()
        return has_more

    def _start(self, data: bytes) -> tuple[WireProtocol | None, bytes]:
        """Choose the protocol once enough has arrived; return it, and all that has arrived."""
        self._first += data
        first = self._first
        if len(first) < len(_PREFACE) and _PREFACE.startswith(first):
            return None, b""
        self._protocol = _PlainHTTP2(self) if first.startswith(_PREFACE) else HTTP1(self)
        self._first = b""
        return self._protocol, first

    def _ends_input(self) -> None:
        self._has_ended = True
        if self._protocol is None:
            self._end()
            return
        self._protocol.drain(urgent=True)
        self._watch()
        self.wake()

    def _write(self) -> None:
        self._will_write = False
        protocol = self._protocol
        if protocol is None or self._over.is_set():
            return
        try:
            while self._flush():
                data = protocol.bytes_to_send()
                if data:
                    self._unsent = memoryview(data)
                elif not protocol.sent_all():
                    break
            if protocol.closing and not self._unsent:
                self._end()
            else:
                self._watch()
        except OSError:
            self._end()
        except Exception:  # noqa: BLE001 - the barrier
            self._fail()

    def _flush(self) -> bool:
        """Send what is left; return whether all was sent."""
        while self._unsent:
            try:
                sent = self._sock.send(self._unsent)
            except BlockingIOError:
                self._unsent_since = self._unsent_since or self._clock.now
                return False
            self._unsent = self._unsent[sent:]
        self._unsent_since = 0.0
        return True

    def _watch(self) -> None:
        """Watch for the events that matter now."""
        if self._over.is_set():
            return
        protocol = self._protocol
        is_paused = self._has_ended or (protocol is not None and protocol.paused)
        events = (0 if is_paused else READABLE) | (WRITABLE if self._unsent else 0)
        if events != self._events:
            self._events = events
            self._poller.change(self._sock.fileno(), events)

    def _fail(self) -> None:
        _log.exception("closing a connection of CMD: internal error")
        self._end()

    def _end(self) -> None:
        """Stop, and end the requests under way; do nothing if that is done."""
        if self._over.is_set():
            return
        self._over.set()
        self._poller.forget(self._sock.fileno())
        if self._protocol is not None:
            try:
                self._protocol.lose()
            except Exception:  # noqa: BLE001 - the barrier
                _log.exception("ending a connection of CMD: internal error")
