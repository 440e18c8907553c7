"""Admits a client after its TLS handshake: asks the listener's authorizer.

The server reads no application data of the client before both have succeeded.
"""

from typing import Protocol

import msgspec

from crewgate.core.verdict import ConnectionRefusalReason
from crewgate.server.connection_authorizer import ClosableConnection, ConnectionAuthorizer
from crewgate.server.handshake_diagnosis import CertificateCapturingSocket
from crewgate.server.listener_counters import ListenerCounters
from crewgate.server.request import ClientInfo


class ListenerHandshakeContext(Protocol):
    """The parts of a listener that a handshake uses.

    `handshaking` are the connections that are not admitted yet, the oldest first.
    """

    counters: ListenerCounters
    authorizer: ConnectionAuthorizer | None
    handshaking: dict[ClosableConnection, None]


async def enter(
    sock: CertificateCapturingSocket,
    failure: ConnectionRefusalReason | None,
    peer: ClientInfo,
    listener: ListenerHandshakeContext,
    connection: ClosableConnection,
) -> ClientInfo | None:
    """Return the admitted client, or None if its handshake failed or the authorizer refused it.

    `failure` says why the handshake failed, if it did. The caller bounds the wait. Once the
    connection has ended, the caller must also call the authorizer's `leave`.
    """
    if failure is not None:
        listener.counters.handshakes_failed += 1
        if listener.authorizer is not None:
            offering = _offering(peer, sock.offered_certificate or None)
            listener.authorizer.refused(offering, failure)
        return None
    sock.forget_context()
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
