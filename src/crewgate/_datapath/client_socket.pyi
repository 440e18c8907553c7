"""Reads and writes the TLS socket of one client when the poller says so.

An error barrier surrounds it: an error ends the connection of one client, and the worker goes on.
If OpenSSL must write before it can read, the socket waits until it takes bytes. The poller treats a
handshake like a large body: it takes few steps in each turn, after all calls. This module knows no
HTTP.
"""

import ssl
from collections.abc import Callable

from crewgate._datapath.socket_poller import Pollable, SocketPoller
from crewgate.server.protocol import WireProtocol
from crewgate.server.request import ClientInfo

# Whether sockets call OpenSSL's object, and not the public methods of `ssl.SSLSocket`.
READS_OPENSSL: bool

def reads_as_expected(connection: object) -> bool:
    """Return whether OpenSSL's object in this Python reads into a buffer, and says if it must wait.

    `connection` is an `ssl.SSLObject` of a client whose server has sent nothing.
    """

class ClientSocket(Pollable):
    """The half of a client's connection that does I/O. The caller closes the socket.

    `is_secure` says that the handshake is complete. `handshake_error` is the exception with which it
    failed. `protocol` is None before `start`, and after `forget_protocol`. `peer_closed` says that
    the client has closed or reset the connection.
    """

    peer: ClientInfo
    is_secure: bool
    handshake_error: Exception | None
    protocol: WireProtocol | None
    peer_closed: bool

    def __init__(
        self,
        sock: ssl.SSLSocket,
        peer: ClientInfo,
        poller: SocketPoller,
        on_end: Callable[[], None],
    ) -> None:
        """The socket calls `on_end` when the handshake has ended, and when it stops reading."""
    def begin_handshake(self) -> None:
        """Shake hands in the turns of the poller, until `stop`. Raises OSError."""
    def start(self, protocol: WireProtocol) -> None:
        """Read and write for `protocol` until `stop`; the handshake is complete. Raises OSError."""
    def stop(self) -> None:
        """Stop reading and writing, and end the exchanges of the protocol; idempotent."""
    def forget_protocol(self) -> None:
        """Forget the protocol after `stop`, since a reference cycle would keep both."""
    def wake(self) -> None:
        """Have the protocol's output written at the end of this turn."""
    def resume(self) -> None:
        """Read again if the protocol is no longer paused."""
    def unsent_seconds(self) -> float:
        """Return for how long the client has not taken what was written; 0.0 if it took all."""
