"""Admits a client: the TLS handshake, then the decision of the listener's authorizer.

The server reads no application data of the client before both have succeeded.
"""

import ssl
from typing import Protocol

import msgspec
import trio

from crewgate.core.verdict import ConnectionRefusalReason
from crewgate.server.connection_authorizer import ClosableConnection, ConnectionAuthorizer
from crewgate.server.handshake_diagnosis import CertificateCapturingSocket, failure_of
from crewgate.server.listener_counters import ListenerCounters
from crewgate.server.request import ClientInfo
from crewgate.ssl_workarounds import forget_errors


class ListenerHandshakeContext(Protocol):
    """The parts of a listener that a handshake uses.

    `handshaking` are the connections that are not admitted yet, the oldest first.
    """

    counters: ListenerCounters
    handshakes: trio.CapacityLimiter
    authorizer: ConnectionAuthorizer | None
    handshaking: dict[ClosableConnection, None]


async def enter(
    sock: CertificateCapturingSocket,
    peer: ClientInfo,
    listener: ListenerHandshakeContext,
    connection: ClosableConnection,
) -> ClientInfo | None:
    """Return the admitted client, or None if the handshake failed or the authorizer refused it.

    The caller bounds the wait. Once the connection has ended, the caller must also call the
    authorizer's `leave`.
    """
    failure = await shake_hands(sock, listener.handshakes)
    if failure is not None:
        listener.counters.handshakes_failed += 1
        if listener.authorizer is not None:
            listener.authorizer.refused(_offering(peer, sock.offered_certificate or None), failure)
        return None
    listener.counters.handshakes_completed += 1
    if listener.authorizer is None:
        listener.handshaking.pop(connection, None)
        return peer
    admitted = await listener.authorizer.admit(
        _offering(peer, sock.getpeercert(binary_form=True)), connection
    )
    if admitted is None:
        listener.counters.peers_refused += 1
    else:
        listener.handshaking.pop(connection, None)
    return admitted


def _offering(peer: ClientInfo, certificate: bytes | None) -> ClientInfo:
    return msgspec.structs.replace(peer, certificate=certificate)


async def shake_hands(
    sock: CertificateCapturingSocket, limiter: trio.CapacityLimiter
) -> ConnectionRefusalReason | None:
    """Complete the TLS handshake; return None, or the reason if it failed.

    Each step holds `limiter`, so that thousands of handshakes at once do not hold up the other
    connections. The caller bounds the wait.
    """
    while True:
        try:
            async with limiter:
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
