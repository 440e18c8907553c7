"""Reads and writes a non-blocking socket to a tool's server, plain or TLS, in turns of the poller.

A write hands the kernel what it takes at once, and keeps the rest until the kernel takes more. This
module knows no HTTP and no deadlines.
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
from crewgate.runtime.cleanup import on_error
from crewgate.ssl_workarounds import forget_errors
from crewgate.upstream.balancer import SocketAddress
from crewgate.upstream.interfaces import OURS

_log = logging.getLogger(__name__)
_READABLE, _WRITABLE = select.EPOLLIN, select.EPOLLOUT
_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_RECORD_BYTES = 16_384  # the maximum of plain text in a TLS record (RFC 8446, section 5.1)


class TransportPoller(Protocol):
    """The parts of the worker's poller that a transport uses; see `SocketPoller`."""

    def watch(self, descriptor: int, ready: Callable[[int], bool], events: int = ...) -> None:
        """Call `ready` with the present epoll events; it returns whether more is likely."""

    def change(self, descriptor: int, events: int) -> None:
        """Watch for other events."""

    def forget(self, descriptor: int) -> None:
        """Watch a descriptor no more."""

    def write_at_end(self, work: Callable[[], None]) -> None:
        """Run `work` once, at the end of this turn."""


class TransportCallbacks(Protocol):
    """The wire protocol that uses a transport."""

    def received(self, data: bytes) -> None:
        """Parse bytes; raise UpstreamError if they are invalid."""

    def drained(self) -> None:
        """Take note that all queued bytes have been written."""

    def closed(self, error: OSError | None) -> None:
        """Handle a close by the server, or with `error` a broken connection.

        Raises UpstreamError if a response is incomplete.
        """

    def failed(self, error: UpstreamError) -> None:
        """Handle an error after which the connection cannot be used."""


class Transport:
    """One connection to a tool's server; `queued` bytes wait until the kernel takes them.

    `sent` counts the bytes of plain text that the kernel took. Over TLS a record counts only as a
    whole, because no server can read a part of it.
    """

    __slots__ = (
        "_events",
        "_fd",
        "_is_unwatched",
        "_loop_hooks",
        "_poll",
        "_sock",
        "_unsent",
        "protocol",
        "queued",
        "sent",
    )

    def __init__(
        self, sock: socket.socket, loop_hooks: TransportPoller, protocol: TransportCallbacks
    ) -> None:
        self.protocol = protocol
        self.queued = 0
        self.sent = 0
        self._sock = sock
        self._fd = sock.fileno()
        self._loop_hooks = loop_hooks
        self._unsent: deque[bytes] = deque()
        self._events = _READABLE
        self._is_unwatched = False  # it broke while reading was paused
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)
        loop_hooks.watch(self._fd, self._ready, _READABLE)

    def send(self, data: bytes) -> None:
        """Send what the kernel takes and queue the rest; raise OSError if the connection broke."""
        if self._unsent:
            self._unsent.append(data)
            self.queued += len(data)
            return
        try:
            sent = self._push(data)
        except _WOULD_BLOCK:
            sent = 0
        except OSError:
            forget_errors()
            raise
        self.sent += sent
        if sent < len(data):
            # OpenSSL requires that bytes which it did not take are offered again unchanged.
            self._unsent.append(data[sent:])
            self.queued = len(data) - sent
            self._set_events(self._events | _WRITABLE)

    def pause(self) -> None:
        """Stop reading."""
        self._set_events(self._events & ~_READABLE)

    def resume(self) -> None:
        """Go on reading."""
        self._set_events(self._events | _READABLE)

    def is_stale(self) -> bool:
        """Return whether an unused connection has unread input: its end, or unsolicited bytes.

        The check is below TLS, where a close is visible as well, and costs a tenth of a read that
        finds nothing.
        """
        return bool(self._poll.poll(0))

    def acknowledge(self) -> None:
        """Have the kernel acknowledge the bytes read at once, instead of up to 0.2 s later.

        A server that writes head and body separately may hold the body back until the head is
        acknowledged (RFC 896).
        """
        with suppress(OSError):  # the socket is not TCP
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def close(self) -> None:
        """Close at once."""
        if self._sock.fileno() >= 0:
            self._loop_hooks.forget(self._fd)
            self._sock.close()

    def _push(self, data: bytes) -> int:
        """Send what the kernel takes now; return how much, or raise one of _WOULD_BLOCK.

        Given several records at once, OpenSSL writes as many as the kernel takes, but reports only
        the last one. The server could then read bytes that do not count as `sent`. So OpenSSL gets
        one record at a time.
        """
        if len(data) <= _RECORD_BYTES or not isinstance(self._sock, ssl.SSLSocket):
            return self._sock.send(data)
        sent, view = 0, memoryview(data)
        try:
            while sent < len(data):
                sent += self._sock.send(view[sent : sent + _RECORD_BYTES])
        except OSError:  # the next call raises it again; what was sent counts now
            if not sent:
                raise
            forget_errors()
        return sent

    def _set_events(self, events: int) -> None:
        if events == self._events or self._sock.fileno() < 0:
            return
        self._events = events
        if not self._is_unwatched:
            self._loop_hooks.change(self._fd, events)
        elif events & _READABLE:
            self._is_unwatched = False
            self._loop_hooks.watch(self._fd, self._ready, events)

    def _ready(self, events: int) -> bool:
        """Write and read, inside the barrier; return whether more of a large body is likely."""
        if not self._events & _READABLE and events & ~_WRITABLE:
            # The connection broke while reading was paused. Its last input is read after `resume`;
            # nothing more is written.
            self._is_unwatched = True
            self._loop_hooks.forget(self._fd)
            return False
        try:
            if events & _WRITABLE:
                self._write()
            if events & ~_WRITABLE:
                return self._read()
        except UpstreamError as error:
            self.protocol.failed(error)
        except Exception:  # noqa: BLE001 - the barrier
            _log.exception("closing a connection to a tool's server: internal error")
            self.protocol.failed(UpstreamError(OURS))
        return bool(events & _WRITABLE)

    def _read(self) -> bool:
        try:
            data = self._sock.recv(limits.receive_bytes)
        except _WOULD_BLOCK:
            return False
        except OSError as error:
            forget_errors()
            self.protocol.closed(error)
            return False
        if data:
            self.protocol.received(data)
        else:
            self.protocol.closed(None)
        return len(data) >= limits.bulk_bytes

    def _write(self) -> None:
        unsent = self._unsent
        try:
            while unsent:
                sent = self._push(unsent[0])
                self.sent += sent
                self.queued -= sent
                if sent < len(unsent[0]):
                    unsent[0] = unsent[0][sent:]
                    return
                unsent.popleft()
        except _WOULD_BLOCK:
            return
        except OSError:
            # The next read tells the cause: a response may have arrived before the close.
            forget_errors()
            unsent.clear()
            self.queued = 0
            self._set_events(_READABLE)
            return
        self._set_events(self._events & ~_WRITABLE)
        self.protocol.drained()


async def connect(
    address: SocketAddress, context: ssl.SSLContext | None, server_name: str
) -> socket.socket:
    """Connect to one address; if `context` is given, over TLS to `server_name`.

    The context verifies name and chain. The caller bounds the wait. Raises OSError.
    """
    family, sockaddr = address
    sock = await _open(socket.socket(family, socket.SOCK_STREAM), sockaddr)
    return sock if context is None else await _secure(sock, context, server_name)


async def _open(sock: socket.socket, sockaddr: object) -> socket.socket:
    with on_error(sock.close):
        sock.settimeout(0)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            sock.connect(sockaddr)  # type: ignore[arg-type]  # the form that getaddrinfo returned
        except BlockingIOError:
            await trio.lowlevel.wait_writable(sock)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise OSError(code, os.strerror(code)) from None
    return sock


async def _secure(sock: socket.socket, context: ssl.SSLContext, server_name: str) -> ssl.SSLSocket:
    # A close without close_notify is an error, or else a cut response that ends with its connection
    # would pass as complete.
    tls_sock = context.wrap_socket(
        sock, server_hostname=server_name, do_handshake_on_connect=False, suppress_ragged_eofs=False
    )
    try:
        while True:
            try:
                tls_sock.do_handshake()
                return tls_sock
            except ssl.SSLWantReadError:
                await trio.lowlevel.wait_readable(tls_sock)
            except ssl.SSLWantWriteError:
                await trio.lowlevel.wait_writable(tls_sock)
    except BaseException:
        tls_sock.close()
        forget_errors()
        raise
