"""The end of a connection, as seen by a client that has not read everything yet.

Closing with unread input resets the connection, and a reset destroys what the client has not read
(RFC 9112 §9.6). So our side is closed first, and read on for a moment.
"""

import ssl

import trio

from crewgate import limits
from crewgate.openssl import forget_errors


async def linger(sock: ssl.SSLSocket) -> None:
    """Close our side, then read on until the client closes; at most `limits.linger_seconds_max`.

    The descriptor itself is left open.
    """
    with trio.move_on_after(limits.linger_seconds_max):
        try:
            sock.unwrap()  # sends close_notify; the client's need not come
        except (OSError, ValueError):
            forget_errors()
        plain = trio.socket.fromfd(sock.fileno(), sock.family, sock.type)
        with plain:
            await _drain(plain)


async def _drain(sock: trio.socket.SocketType) -> None:
    try:
        sock.shutdown(trio.socket.SHUT_WR)
        while await sock.recv(limits.receive_bytes):
            pass
    except OSError:
        return
