"""Lets a listener serve without TLS, for a page at a loopback address.

A `PlaintextContext` takes the place of the TLS context, and a `PlaintextSocket` that of a client's
TLS socket. So all bounds of a listener hold for such clients as well. A socket that must wait says
so by the errors of `ssl`, as its readers expect.
"""

import socket
import ssl
from typing import Final, Self


class PlaintextSocket:
    """The socket of a client's connection; it has the methods of a TLS socket that are used here.

    It offers no certificate, and its protocol is HTTP/1.1.
    """

    offered_certificate: Final = b""

    def __init__(self, sock: socket.socket) -> None:
        # The reader of TLS sockets calls the object below `ssl.SSLSocket`, which knows TLS only.
        self._sslobj: Final = _Stream(sock)
        self.fileno: Final = sock.fileno
        self.shutdown: Final = sock.shutdown
        self.close: Final = sock.close

    def do_handshake(self) -> None:
        """Return at once."""

    def selected_alpn_protocol(self) -> None:
        """Return None: the client has chosen no protocol."""

    def getpeercert(self, *, binary_form: bool) -> None:
        """Return None: the client has no certificate."""

    def forget_context(self) -> None:
        """Do nothing: there is no context."""

    def recv_into(self, buffer: bytearray, size: int) -> int:
        """Read into a buffer. Raises ssl.SSLWantReadError if nothing has arrived."""
        return self._sslobj.read(size, buffer)

    def send(self, data: bytes | memoryview) -> int:
        """Send a part of the data. Raises ssl.SSLWantWriteError if the socket is full."""
        return self._sslobj.write(data)

    def unwrap(self) -> Self:
        """Return: TLS has nothing to end."""
        return self


class _Stream:
    """Reads and writes a socket as the object below `ssl.SSLSocket` does."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def read(self, size: int, buffer: bytearray) -> int:
        try:
            return self._sock.recv_into(buffer, size)
        except BlockingIOError:
            raise ssl.SSLWantReadError from None

    def write(self, data: bytes | memoryview) -> int:
        try:
            return self._sock.send(data)
        except BlockingIOError:
            raise ssl.SSLWantWriteError from None


class PlaintextContext:
    """Takes the place of a listener's TLS context."""

    def wrap_socket(
        self,
        sock: socket.socket,
        *,
        server_side: bool,  # noqa: ARG002 - as a TLS context has it
        do_handshake_on_connect: bool,  # noqa: ARG002 - the same
    ) -> PlaintextSocket:
        """Return the socket of a client."""
        return PlaintextSocket(sock)
