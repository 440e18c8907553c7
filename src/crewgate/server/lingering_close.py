"""Closes a connection so that the client can read everything that was sent to it.

Closing a socket with unread input resets the connection, and a reset destroys what the client has
not read yet (RFC 9112 §9.6). So the server closes its own direction first, and reads on for a
moment. `ClientSocket.linger` does so for TLS.
"""

import trio

from crewgate import limits


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
