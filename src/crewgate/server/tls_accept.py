"""From an accepted socket to a peer who may speak: the handshake, then the listener's guard.

Nothing that the client sent as application data is read before both have said yes.
"""

import ssl
from typing import Protocol

import msgspec
import trio

from crewgate.core.verdict import PeerReason
from crewgate.openssl import forget_errors
from crewgate.server.connection_authorizer import AuthorizedConnection, ConnectionAuthorizer
from crewgate.server.counters import Counters
from crewgate.server.request import ClientInfo
from crewgate.server.tls_failure import ClientSocket, failure_of


class HandshakeContext(Protocol):
    """What a listener lends here."""

    counters: Counters
    handshakes: trio.CapacityLimiter
    guard: ConnectionAuthorizer | None
    handshaking: dict[
        AuthorizedConnection, None
    ]  # those who have not come so far, the oldest first


async def enter(
    sock: ClientSocket, peer: ClientInfo, at: HandshakeContext, connection: AuthorizedConnection
) -> ClientInfo | None:
    """Return who is there, None for nobody who may speak; the caller bounds the wait.

    Whoever calls has the guard forget a peer that was admitted.
    """
    failure = await shake_hands(sock, at.handshakes)
    if failure is not None:
        at.counters.handshakes_failed += 1
        if at.guard is not None:
            at.guard.refused(_with(peer, sock.shown or None), failure)
        return None
    if at.guard is None:
        at.handshaking.pop(connection, None)
        return peer
    admitted = await at.guard.admit(_with(peer, sock.getpeercert(binary_form=True)), connection)
    if admitted is None:
        at.counters.peers_refused += 1
    else:
        at.handshaking.pop(connection, None)
    return admitted


def _with(peer: ClientInfo, certificate: bytes | None) -> ClientInfo:
    return msgspec.structs.replace(peer, certificate=certificate)


async def shake_hands(sock: ClientSocket, turn: trio.CapacityLimiter) -> PeerReason | None:
    """Shake hands with a client; why not, if it gave up, or offered what we do not take.

    `turn` is held for each step: thousands at once take turns with the rest. The caller bounds the
    wait.
    """
    while True:
        try:
            async with turn:
                sock.do_handshake()
            sock.forget_context()
            return None
        except ssl.SSLWantReadError:
            await trio.lowlevel.wait_readable(sock)
        except ssl.SSLWantWriteError:
            await trio.lowlevel.wait_writable(sock)
        except OSError as error:
            forget_errors()
            return failure_of(error)
