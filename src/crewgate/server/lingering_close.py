"""Closes a connection so that the client can read everything that was sent to it.

Closing a socket with unread input resets the connection, and a reset destroys what the client has
not read yet (RFC 9112 §9.6). So the server closes its own direction first, and reads on for a
moment.
"""

import ssl

import trio

from crewgate import limits
from crewgate.ssl_workarounds import forget_errors


async def linger(sock: ssl.SSLSocket) -> None:
    """Send the end of TLS, then do what `drain` does. The caller closes the descriptor."""
    try:
        sock.unwrap()  # sends close_notify, and does not wait for that of the client
    except (OSError, ValueError):
        forget_errors()
    with trio.socket.fromfd(sock.fileno(), sock.family, sock.type) as plain:
        await drain(plain)


async def drain(sock: trio.socket.SocketType) -> None:
    """Close the sending direction, then discard input until the client closes.

    It waits at most `limits.linger_seconds_max`. The caller closes the socket.
    """
    with trio.move_on_after(limits.linger_seconds_max):
        try:
            sock.shutdown(trio.socket.SHUT_WR)
            while await sock.recv(limits.receive_bytes):
                pass
        except OSError:
            return
