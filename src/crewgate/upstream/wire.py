"""A connected, non-blocking socket to a tool's server, plain or TLS: bytes out, bytes in.

Knows no HTTP and no deadline. `trio.SocketStream` costs twice as much a call (measured), and does
not say how many bytes the kernel has taken, which decides whether a call is refunded.
"""

import os
import socket
import ssl

import trio

from crewgate import limits
from crewgate.config import Origin
from crewgate.errors import UpstreamError, UpstreamTimeoutError

_WAIT_TO_READ = (BlockingIOError, ssl.SSLWantReadError)
_WAIT_TO_WRITE = (BlockingIOError, ssl.SSLWantWriteError)


class Wire:
    """One connection. Two tasks may use it at once, one to send and one to receive."""

    __slots__ = ("_fd", "_sock")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._fd = sock.fileno()

    def send_now(self, data: bytes) -> int:
        """Return how many bytes were taken without waiting. OSError if the connection is dead."""
        try:
            return self._sock.send(data)
        except _WAIT_TO_WRITE:
            return 0

    async def send(self, data: bytes) -> None:
        """Send all; what was not taken is offered again unchanged, as OpenSSL wants it."""
        while True:
            sent = self.send_now(data)
            if sent == len(data):
                return
            data = data[sent:]
            await self.writable()

    async def writable(self) -> None:
        """Wait until a send may take something."""
        await trio.lowlevel.wait_writable(self._fd)

    async def receive(self) -> bytes:
        """Return the next bytes, b"" at the end. OSError if the connection broke."""
        while True:
            await trio.lowlevel.wait_readable(self._fd)
            try:
                return self._sock.recv(limits.receive_bytes)
            except _WAIT_TO_READ:
                continue

    def is_stale(self) -> bool:
        """Return whether an unused connection has anything to read.

        That is its end, or what nobody asked for. Looks below TLS, where a server closes as well.
        """
        try:
            socket.socket.recv(self._sock, 1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def break_off(self) -> None:
        """Make whoever waits on this connection wake up to its end."""
        try:
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)
        except OSError:
            return

    def close(self) -> None:
        """Close; tasks that wait get ClosedResourceError."""
        if self._sock.fileno() >= 0:
            trio.lowlevel.notify_closing(self._fd)
            self._sock.close()


async def connect(origin: Origin, context: ssl.SSLContext | None) -> Wire:
    """Connect to the first address of `origin` that accepts; UpstreamError if none does in time.

    `context` is given for https; its checks of name and chain apply.
    """
    with trio.move_on_after(limits.upstream_connect_seconds_max):
        return await _connect(origin, context)
    raise UpstreamTimeoutError(f"{origin.authority} did not accept a connection in time")


async def _connect(origin: Origin, context: ssl.SSLContext | None) -> Wire:
    try:
        addresses = await trio.socket.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise UpstreamError(f"{origin.authority}: {error.strerror}") from error
    failure: OSError | None = None
    for family, kind, number, _, address in addresses:
        try:
            sock = await _open(socket.socket(family, kind, number), address)
            return Wire(sock if context is None else await _secure(sock, context, origin.host))
        except OSError as error:
            failure = error
    reason = failure.strerror if failure else "it has no address"
    raise UpstreamError(f"{origin.authority}: {reason}") from failure


async def _open(sock: socket.socket, address: object) -> socket.socket:
    try:
        sock.settimeout(0)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            sock.connect(address)  # type: ignore[arg-type]  # as getaddrinfo gave it
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
    secure = context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
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
        raise
