"""Admits a client after its TLS handshake: asks the listener's authorizer.

The server reads no application data of the client before both have succeeded.
"""

from collections.abc import Coroutine
from typing import Protocol

import msgspec

from crewgate.core.verdict import ConnectionRefusalReason
from crewgate.server.connection_authorizer import (
    Admission,
    ClosableConnection,
    ConnectionAuthorizer,
)
from crewgate.server.handshake_diagnosis import CertificateCapturingSocket
from crewgate.server.listener_counters import ListenerCounters
from crewgate.server.plaintext import PlaintextSocket
from crewgate.server.request import ClientInfo


class ListenerHandshakeContext(Protocol):
    """The parts of a listener that a handshake uses.

    `handshaking` are the connections that are not admitted yet, the oldest first.
    """

    counters: ListenerCounters
    authorizer: ConnectionAuthorizer | None
    handshaking: dict[ClosableConnection, None]


def enter(
    sock: CertificateCapturingSocket | PlaintextSocket,
    failure: ConnectionRefusalReason | None,
    peer: ClientInfo,
    listener: ListenerHandshakeContext,
    connection: ClosableConnection,
) -> Admission:
    """Return the admitted client, or None if its handshake failed or the authorizer refused it.

    If the authorizer has to wait, return a coroutine that returns the same. `failure` says why the
    handshake failed, if it did. Once the connection has ended, the caller must also call the
    authorizer's `leave`.
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
        return _noted(peer, listener, connection)
    offering = _offering(peer, sock.getpeercert(binary_form=True))
    admission = listener.authorizer.admit(offering, connection)
    if admission is None or isinstance(admission, ClientInfo):
        return _noted(admission, listener, connection)
    return _noted_later(admission, listener, connection)


def _noted(
    admitted: ClientInfo | None, listener: ListenerHandshakeContext, connection: ClosableConnection
) -> ClientInfo | None:
    if admitted is None:
        listener.counters.peers_refused += 1
    else:
        listener.handshaking.pop(connection, None)
    return admitted


async def _noted_later(
    admission: Coroutine[None, None, ClientInfo | None],
    listener: ListenerHandshakeContext,
    connection: ClosableConnection,
) -> ClientInfo | None:
    return _noted(await admission, listener, connection)


def _offering(peer: ClientInfo, certificate: bytes | None) -> ClientInfo:
    return msgspec.structs.replace(peer, certificate=certificate)
