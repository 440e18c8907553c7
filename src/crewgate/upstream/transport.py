"""A connected, non-blocking socket to a tool's server, plain or TLS, read and written in turns.

Writes at once what the kernel takes, keeps the rest and writes it when there is room. Knows no HTTP
and no deadline.
"""

import logging
import os
import select
import socket
import ssl
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import trio

from crewgate import limits
from crewgate.errors import UpstreamError
from crewgate.openssl import forget_errors
from crewgate.upstream.balancer import SocketAddress
from crewgate.upstream.interfaces import OURS

_log = logging.getLogger(__name__)
_READABLE, _WRITABLE = select.EPOLLIN, select.EPOLLOUT
_WAIT = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_RECORD_BYTES = 16_384  # of plain text in a TLS record (RFC 8446, section 5.1)


class EventLoopHooks(Protocol):
    """The worker's poller, as a connection to a tool's server sees it."""

    def watch(self, descriptor: int, ready: Callable[[int], bool], events: int = ...) -> None:
        """Call `ready` with the events (epoll's) that are there; it tells if there is more."""

    def change(self, descriptor: int, events: int) -> None:
        """Call for other events."""

    def forget(self, descriptor: int) -> None:
        """Call no more."""

    def write_at_end(self, work: Callable[[], None]) -> None:
        """Do `work` once, at the end of this turn."""


class TransportProtocol(Protocol):
    """Who speaks a protocol on a wire."""

    def received(self, data: bytes) -> None:
        """Take bytes. UpstreamError if they are wrong."""

    def drained(self) -> None:
        """All that was kept has been written."""

    def closed(self, error: OSError | None) -> None:
        """The server has closed the connection, or it broke. UpstreamError if that is too soon."""

    def failed(self, error: UpstreamError) -> None:
        """The connection is of no use any more."""


class Transport:
    """One connection. `queued` bytes wait for room in the kernel.

    `sent` counts what the kernel took of the plain text; over TLS a record counts when it is whole,
    since nobody can read less.
    """

    __slots__ = (
        "_events",
        "_fd",
        "_is_unwatched",
        "_look",
        "_loop_hooks",
        "_pieces",
        "_sock",
        "queued",
        "sent",
        "user",
    )  # fmt: skip

    def __init__(
        self, sock: socket.socket, loop_hooks: EventLoopHooks, user: TransportProtocol
    ) -> None:
        self.user = user
        self.queued = 0
        self.sent = 0
        self._sock = sock
        self._fd = sock.fileno()
        self._loop_hooks = loop_hooks
        self._pieces: deque[bytes] = deque()
        self._events = _READABLE
        self._is_unwatched = False  # it broke while nobody wanted to read
        self._look = select.poll()
        self._look.register(self._fd, select.POLLIN)
        loop_hooks.watch(self._fd, self._ready, _READABLE)

    def send(self, data: bytes) -> None:
        """Send what the kernel takes, keep the rest. OSError if the connection is dead."""
        if self._pieces:
            self._pieces.append(data)
            self.queued += len(data)
            return
        try:
            sent = self._push(data)
        except _WAIT:
            sent = 0
        except OSError:
            forget_errors()
            raise
        self.sent += sent
        if sent < len(data):
            # OpenSSL wants what it did not take offered again unchanged: it stays one piece.
            self._pieces.append(data[sent:])
            self.queued = len(data) - sent
            self._ask(self._events | _WRITABLE)

    def pause(self) -> None:
        """Read no more for now."""
        self._ask(self._events & ~_READABLE)

    def resume(self) -> None:
        """Read on."""
        self._ask(self._events | _READABLE)

    def is_stale(self) -> bool:
        """Return whether an unused connection has anything to read.

        That is its end, or what nobody asked for. Looks below TLS, where a server closes as well.
        """
        return bool(self._look.poll(0))  # a tenth of what a read that finds nothing costs

    def acknowledge(self) -> None:
        """Have the kernel acknowledge at once what was read, instead of up to 0.2 s later.

        A server that writes head and body apart may hold the second back for that (RFC 896).
        """
        with suppress(OSError):  # no TCP
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def close(self) -> None:
        """Close at once."""
        if self._sock.fileno() >= 0:
            self._loop_hooks.forget(self._fd)
            self._sock.close()

    def _push(self, data: bytes) -> int:
        """Give the kernel what it takes now; one of _WAIT if that is nothing.

        OpenSSL writes as many records as there is room for, and says so of the last one alone: it
        gets one at a time, or the server could read what does not count as sent.
        """
        if len(data) <= _RECORD_BYTES or not isinstance(self._sock, ssl.SSLSocket):
            return self._sock.send(data)
        sent, view = 0, memoryview(data)
        try:
            while sent < len(data):
                sent += self._sock.send(view[sent : sent + _RECORD_BYTES])
        except OSError:  # or one of _WAIT; what has gone counts first, and the next send tells
            if not sent:
                raise
            forget_errors()
        return sent

    def _ask(self, events: int) -> None:
        if events == self._events or self._sock.fileno() < 0:
            return
        self._events = events
        if not self._is_unwatched:
            self._loop_hooks.change(self._fd, events)
        elif events & _READABLE:
            self._is_unwatched = False
            self._loop_hooks.watch(self._fd, self._ready, events)

    def _ready(self, events: int) -> bool:
        """Write and read; the barrier. Returns whether a large body goes on."""
        if not self._events & _READABLE and events & ~_WRITABLE:
            # The connection broke, which is told unasked. What came before is read once it is
            # wanted; nothing more is written.
            self._is_unwatched = True
            self._loop_hooks.forget(self._fd)
            return False
        try:
            if events & _WRITABLE:
                self._write()
            if events & ~_WRITABLE:
                return self._read()
        except UpstreamError as error:
            self.user.failed(error)
        except Exception:  # noqa: BLE001 - the barrier
            _log.exception("a connection to a tool's server ended by an error of ours")
            self.user.failed(UpstreamError(OURS))
        return bool(events & _WRITABLE)

    def _read(self) -> bool:
        try:
            data = self._sock.recv(limits.receive_bytes)
        except _WAIT:
            return False
        except OSError as error:
            forget_errors()
            self.user.closed(error)
            return False
        if data:
            self.user.received(data)
        else:
            self.user.closed(None)
        return len(data) >= limits.bulk_bytes

    def _write(self) -> None:
        pieces = self._pieces
        try:
            while pieces:
                sent = self._push(pieces[0])
                self.sent += sent
                self.queued -= sent
                if sent < len(pieces[0]):
                    pieces[0] = pieces[0][sent:]
                    return
                pieces.popleft()
        except _WAIT:
            return
        except OSError:
            # Reading tells why: an answer may have come before the connection broke.
            forget_errors()
            pieces.clear()
            self.queued = 0
            self._ask(_READABLE)
            return
        self._ask(self._events & ~_WRITABLE)
        self.user.drained()


async def connect(
    address: SocketAddress, context: ssl.SSLContext | None, name: str
) -> socket.socket:
    """Connect to one address, with TLS as `name` if `context` is given. OSError.

    The context's checks of name and chain apply. The caller bounds the wait.
    """
    family, place = address
    sock = await _open(socket.socket(family, socket.SOCK_STREAM), place)
    return sock if context is None else await _secure(sock, context, name)


async def _open(sock: socket.socket, place: object) -> socket.socket:
    try:
        sock.settimeout(0)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            sock.connect(place)  # type: ignore[arg-type]  # as getaddrinfo gave it
        except BlockingIOError:
            await trio.lowlevel.wait_writable(sock)
            number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if number:
                raise OSError(number, os.strerror(number)) from None
    except BaseException:
        sock.close()
        raise
    return sock


async def _secure(sock: socket.socket, context: ssl.SSLContext, host: str) -> ssl.SSLSocket:
    # An end without close_notify is an error: an answer that ends with its connection is not whole.
    secure = context.wrap_socket(
        sock, server_hostname=host, do_handshake_on_connect=False, suppress_ragged_eofs=False
    )
    try:
        while True:
            try:
                secure.do_handshake()
                return secure
            except ssl.SSLWantReadError:
                await trio.lowlevel.wait_readable(secure)
            except ssl.SSLWantWriteError:
                await trio.lowlevel.wait_writable(secure)
    except BaseException:
        secure.close()
        forget_errors()
        raise
