"""Who may connect where certificates are asked for, and the connections to end when one is revoked.

The handshake has proved chain, validity and absence from the CRL; here the certificate must say
that it is for clients and for whom, of a crew that the listener admits, the table must not have it,
and its issuer must not say that it is revoked. Judged before a byte of HTTP is read. Does no I/O:
clocks, table, sink and the question to the issuer are handed over.
"""

import time
from collections.abc import Awaitable, Callable, Collection
from typing import Literal, Protocol

import msgspec

from crewgate import limits
from crewgate.config import OCSPMode
from crewgate.core.audit.network_prefix import peer_network
from crewgate.core.audit.records import ConnectionRecord, Record, when
from crewgate.core.ids import certificate_key
from crewgate.core.rate_limit import TokenBucket
from crewgate.core.verdict import PeerReason
from crewgate.core.x509 import certificate as certificate_
from crewgate.core.x509.certificate import Certificate, revocable_by
from crewgate.core.x509.certificate_status import (
    CertificateStatus,
    RevokedStatus,
    UndeterminedReason,
    UndeterminedStatus,
    UnknownStatus,
)
from crewgate.core.x509.identity import Identity, Role
from crewgate.server.connection_authorizer import AuthorizedConnection
from crewgate.server.peer_connections import PeerConnections, RevocationTable
from crewgate.server.request import ClientInfo


class ConnectionRecordSink(Protocol):
    """Where records go."""

    def write(self, record: Record) -> object:
        """Take a record."""

    def count(self, listener: str, reason: PeerReason, network: str) -> None:
        """Count a refusal that gets no record of its own."""


class PeerRules(msgspec.Struct, frozen=True):
    """What a listener asks of a client's certificate, and of its issuer by OCSP."""

    listener: str
    crews: Collection[str]  # of orchestrators; others have none
    roles: Collection[Role] = (Role.ORCHESTRATOR,)
    ocsp: OCSPMode = "off"
    is_required: bool = True  # else a client without one is admitted, as nobody


CheckStatus = Callable[[bytes, bytes], Awaitable[CertificateStatus]]


async def ask_nobody(key: bytes, certificate: bytes) -> CertificateStatus:  # noqa: ARG001 - a `CheckStatus`
    """Whoever has nobody to ask is in doubt."""
    return UndeterminedStatus(UndeterminedReason.UNREACHABLE)


class PeerAuthorizer:
    """The guard of one listener; its `rules` may be changed at any time.

    `table` returns the table in force; `check_status` asks the issuer of a certificate for its
    status, given its key in the table and its DER.
    """

    def __init__(
        self,
        rules: PeerRules,
        peer_connections: PeerConnections,
        table: Callable[[], RevocationTable],
        sink: ConnectionRecordSink,
        check_status: CheckStatus = ask_nobody,
    ) -> None:
        self.rules = rules
        self._peer_connections = peer_connections
        self._table = table
        self._sink = sink
        self._check_status = check_status
        self._lines = TokenBucket(limits.peer_lines_per_second, limits.peer_lines_burst)

    def __repr__(self) -> str:
        return f"<PeerAuthorizer {self.rules!r} guests={len(self._peer_connections)}>"

    def refused(self, peer: ClientInfo, why: PeerReason) -> None:
        """Note a handshake that failed; one that is not about a certificate is only counted."""
        if why is PeerReason.HANDSHAKE:
            return
        self._note(peer, why, _read(peer.certificate), is_proven=False)

    async def admit(self, peer: ClientInfo, connection: AuthorizedConnection) -> ClientInfo | None:
        """Return the peer with its identity, or None."""
        if peer.certificate is None:
            if not self.rules.is_required:
                return peer
            # The handshake had begun before a reload made it so.
            self._note(peer, PeerReason.NO_CERTIFICATE, None)
            return None
        found = _read(peer.certificate)
        if found is None:
            self._note(peer, PeerReason.INVALID, None)
            return None
        identity = _identity(found)
        if identity is None:
            self._note(peer, PeerReason.NO_IDENTITY, found)
            return None
        key = certificate_key(identity.crew, found.serial)
        why, status = self._refusal(found, identity), None
        if why is None and self.rules.ocsp != "off":
            status = await self._check_status(key, peer.certificate)
            # Table and rules may have changed while the issuer was asked.
            why = self._refusal(found, identity) or self._reason(status)
        doubt = status.flaw.value if isinstance(status, UndeterminedStatus) else ""
        if why is not None:
            self._note(peer, why, found, identity, doubt=doubt)
            return None
        if doubt:
            self._write(peer, "admitted", PeerReason.STALE, found, identity, doubt=doubt)
        known = msgspec.structs.replace(
            peer,
            identity=identity,
            serial=found.serial,
            listener=self.rules.listener,
            serial_text=found.serial_text,
            issued=found.issued,
            not_after=found.not_after,
        )
        self._peer_connections.enter(key, connection, known)
        return known

    def leave(self, connection: AuthorizedConnection) -> None:
        """Forget a connection that has ended."""
        self._peer_connections.leave(connection)

    def change(self, rules: PeerRules) -> None:
        """Judge by other rules, and end the connections of crews that they do not admit."""
        before, self.rules = self.rules, rules
        for connection, peer in self._peer_connections.at(before.listener):
            if peer.crew and peer.crew not in rules.crews:  # gateways and operators have none
                self._peer_connections.leave(connection)
                connection.abort()
                self._sink.write(disconnect_record(peer, time.time_ns(), PeerReason.CREW))

    def _refusal(self, found: Certificate, identity: Identity) -> PeerReason | None:
        if not found.is_client or found.is_authority:
            return PeerReason.NO_CLIENT_USAGE
        if identity.role not in self.rules.roles:
            return PeerReason.ROLE
        if identity.role is Role.ORCHESTRATOR and identity.crew not in self.rules.crews:
            return PeerReason.CREW
        if (
            certificate_key(identity.crew, found.serial)
            in self._peer_connections.recent_revocations
        ):
            return PeerReason.REVOKED
        keys = revocable_by(identity, found.serial, found.issued)
        is_revoked = self._table().is_revoked
        return PeerReason.REVOKED if any(is_revoked(*by) for by in keys) else None

    def _reason(self, status: CertificateStatus) -> PeerReason | None:
        """Why not to admit a certificate of this status; where it is in doubt, as the rules say."""
        if isinstance(status, RevokedStatus):
            return PeerReason.REVOKED
        if isinstance(status, UnknownStatus):
            return PeerReason.UNKNOWN
        if isinstance(status, UndeterminedStatus) and self.rules.ocsp == "required":
            return PeerReason.STALE
        return None

    def _note(
        self,
        peer: ClientInfo,
        why: PeerReason,
        found: Certificate | None,
        identity: Identity | None = None,
        *,
        is_proven: bool = True,
        doubt: str = "",
    ) -> None:
        if not self._lines.take(time.monotonic()):
            self._sink.count(self.rules.listener, why, peer_network(peer.address))
            return
        self._write(peer, "refused", why, found, identity, is_proven=is_proven, doubt=doubt)

    def _write(
        self,
        peer: ClientInfo,
        verdict: Literal["refused", "admitted"],
        why: PeerReason,
        found: Certificate | None,
        identity: Identity | None,
        *,
        is_proven: bool = True,
        doubt: str = "",
    ) -> None:
        self._sink.write(
            ConnectionRecord(
                time=when(time.time_ns()),
                listener=self.rules.listener,
                peer=peer_network(peer.address),
                verdict=verdict,
                reason=why.value,
                doubt=doubt,
                proven=is_proven,
                crew=identity.crew if identity else "",
                orchestrator=identity.label if identity else "",
                serial=found.serial_text if found else "",
                subject=found.subject if found else "",
            )
        )


def disconnect_record(
    peer: ClientInfo, wall_ns: int, why: PeerReason = PeerReason.REVOKED
) -> ConnectionRecord:
    """The record of a connection that is ended for its certificate."""
    identity, found = peer.identity, _read(peer.certificate)
    return ConnectionRecord(
        time=when(wall_ns),
        listener=peer.listener,
        peer=peer_network(peer.address),
        verdict="expelled",
        reason=why.value,
        proven=True,
        crew=identity.crew if identity else "",
        orchestrator=identity.label if identity else "",
        serial=certificate_.serial_text(peer.serial),
        subject=found.subject if found else "",
    )


def _read(data: bytes | None) -> Certificate | None:
    """What a certificate says; None for what is none."""
    try:
        return certificate_.read(data) if data else None
    except ValueError:
        return None


def _identity(found: Certificate) -> Identity | None:
    try:
        return found.speaks_for()
    except ValueError:
        return None
