"""Reads and writes the TLS socket of one client when the poller says so.

An error barrier surrounds it: an error ends the connection of one client, and the worker goes on.
If OpenSSL must write before it can read, the socket waits until it takes bytes. The poller treats a
handshake like a large body: it takes few steps in each turn, after all calls. This module knows no
HTTP.
"""

from crewgate._datapath.socket_poller import SocketPoller
from crewgate._datapath.turn_work import Pollable
from crewgate.server.protocol import WireProtocol
from crewgate.server.request import ClientInfo

# Whether sockets call OpenSSL's object, and not the public methods of `ssl.SSLSocket`.
READS_OPENSSL: bool

def reads_as_expected(connection: object) -> bool:
    """Return whether OpenSSL's object in this Python reads into a buffer, and says if it must wait.

    `connection` is an `ssl.SSLObject` of a client whose server has sent nothing.
    """

class ClientSocket(Pollable):
    """The half of a client's connection that does I/O.

    `sock` is an `ssl.SSLSocket`, or has those of its methods that are used here. `is_secure` says
    that the handshake is complete. `protocol` is None before `start`, and after `release`.
    `peer_closed` says that the client has closed or reset the connection, `is_stopped` that `stop`
    was called. A subclass defines what comes after each step: the socket calls `handshake_ended`,
    `ended` and `linger_ended`, inside its barrier.
    """

    peer: ClientInfo
    sock: object
    is_secure: bool
    is_stopped: bool
    protocol: WireProtocol | None
    peer_closed: bool

    def __init__(self, sock: object, peer: ClientInfo, poller: SocketPoller) -> None: ...
    def begin_handshake(self) -> None:
        """Shake hands until it has ended, or until `stop`; then call `handshake_ended`.

        Raises OSError.
        """
    def start(self, protocol: WireProtocol) -> None:
        """Read and write for `protocol` until `stop`; the handshake is complete. Raises OSError."""
    def stop(self) -> None:
        """Stop reading and writing, end the exchanges of the protocol, then call `ended`.

        The socket also stops when the client closes, and when the protocol is `closing` and has
        written all. If a call of the poller to this socket is under way, `ended` comes after it.
        """
    def linger(self) -> None:
        """Send the end of TLS, then discard input until the client closes; call `linger_ended`.

        Call this after `stop`: the client then reads all that was sent (RFC 9112 §9.6). Raises
        OSError.
        """
    def release(self) -> None:
        """Close the socket, and forget the protocol, since a reference cycle would keep both."""
    def log_error(self) -> None:
        """Log the exception under way, which ends this connection and not the worker."""
    def wake(self) -> None:
        """Have the protocol's output written at the end of this turn."""
    def resume(self) -> None:
        """Read again if the protocol is no longer paused."""
    def unsent_seconds(self) -> float:
        """Return for how long the client has not taken what was written; 0.0 if it took all."""
    def handshake_ended(self, error: Exception | None) -> None:
        """Go on after the handshake, or after the error with which it failed."""
    def ended(self) -> None:
        """Go on after `stop`. No method of the socket is under way."""
    def linger_ended(self) -> None:
        """Go on after `linger`: the client has closed."""
