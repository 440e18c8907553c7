"""Decides by its certificate whether a client may use a listener, before HTTP is read.

The handshake has verified the chain, the validity and the CRL. Then the certificate must

1. be a client certificate and no CA's,
2. name an identity whose role and crew the listener admits,
3. not be revoked, and its orchestrator and branch neither, in the shared table or by a recent push,
4. pass the OCSP check, if the listener has one.

This module does no I/O: the caller provides table, sink and OCSP check.
"""

import hashlib
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Literal, Protocol

import msgspec

from crewgate import limits
from crewgate.config import OCSPMode
from crewgate.core.audit.network_prefix import peer_network
from crewgate.core.audit.records import ConnectionRecord, Record, when
from crewgate.core.ids import branch_key, certificate_key
from crewgate.core.rate_limit import TokenBucket
from crewgate.core.revocation_kinds import RevokedKeyLookup
from crewgate.core.verdict import ConnectionRefusalReason
from crewgate.core.x509 import certificate as certificate_
from crewgate.core.x509 import ocsp_result
from crewgate.core.x509.certificate import Certificate, revocable_by
from crewgate.core.x509.identity_extension import Identity, Role
from crewgate.core.x509.identity_oids import STANDARD, IdentityOIDs
from crewgate.server.connection_authorizer import Admission, ClosableConnection
from crewgate.server.peer_connections import PeerConnections
from crewgate.server.request import ClientInfo


class ConnectionRecordSink(Protocol):
    """Takes the audit records of connections."""

    def write(self, record: Record) -> object:
        """Write a record."""

    def count(self, listener: str, reason: ConnectionRefusalReason, network: str) -> None:
        """Count a refusal that gets no record of its own, for a summary."""


class PeerRules(msgspec.Struct, frozen=True):
    """What one listener requires of a client's certificate.

    `crews` are the crews whose orchestrators and agents it admits; other roles have no crew. If a
    certificate is not required, a client without one is admitted and has no identity. `oids` are
    those of the configuration, under which identities are read.
    """

    listener: str
    crews: Collection[str]
    roles: Collection[Role] = (Role.ORCHESTRATOR, Role.AGENT)
    ocsp: OCSPMode = "off"
    is_required: bool = True
    oids: IdentityOIDs = STANDARD


CheckStatus = Callable[[bytes, bytes], Awaitable[ocsp_result.CertificateStatus]]


async def ask_nobody(key: bytes, certificate: bytes) -> ocsp_result.CertificateStatus:  # noqa: ARG001 - a `CheckStatus`
    """Return that the status is undetermined, because no OCSP responder is configured."""
    return ocsp_result.UndeterminedStatus(ocsp_result.UndeterminedReason.UNREACHABLE)


class PeerAuthorizer:
    """The `ConnectionAuthorizer` of one listener that verifies client certificates.

    `table` returns the current table. `check_status` asks the OCSP responder for the status of a
    certificate, given its key in the table and its DER.
    """

    def __init__(
        self,
        rules: PeerRules,
        peer_connections: PeerConnections,
        table: Callable[[], RevokedKeyLookup],
        sink: ConnectionRecordSink,
        check_status: CheckStatus = ask_nobody,
    ) -> None:
        self.rules = rules
        self._peer_connections = peer_connections
        self._table = table
        self._sink = sink
        self._check_status = check_status
        self._record_budget = TokenBucket(limits.peer_lines_per_second, limits.peer_lines_burst)

    def refused(self, peer: ClientInfo, reason: ConnectionRefusalReason) -> None:
        """Record a handshake that failed because of the certificate; ignore other failures."""
        if reason is ConnectionRefusalReason.HANDSHAKE:
            return
        self._record_refusal(peer, reason, self._read(peer.certificate), is_proven=False)

    def admit(self, peer: ClientInfo, connection: ClosableConnection) -> Admission:
        """Decide about a client; see `ConnectionAuthorizer`."""
        if peer.certificate is None:
            if not self.rules.is_required:
                return peer
            # The handshake began before a reload made the certificate required.
            self._record_refusal(peer, ConnectionRefusalReason.NO_CERTIFICATE, None)
            return None
        leaf = self._read(peer.certificate)
        if leaf is None:
            self._record_refusal(peer, ConnectionRefusalReason.INVALID, None)
            return None
        identity = _identity(leaf)
        if identity is None:
            self._record_refusal(peer, ConnectionRefusalReason.NO_IDENTITY, leaf)
            return None
        reason = self._refusal(leaf, identity)
        if reason is not None:
            self._record_refusal(peer, reason, leaf, identity)
            return None
        if self.rules.ocsp != "off":
            return self._admit_by_status(peer, connection, leaf, identity)
        return self._admitted(peer, connection, leaf, identity)

    async def _admit_by_status(
        self,
        peer: ClientInfo,
        connection: ClosableConnection,
        leaf: Certificate,
        identity: Identity,
    ) -> ClientInfo | None:
        """Ask the OCSP responder, and then decide."""
        key = certificate_key(identity.crew, leaf.serial)
        status = await self._check_status(key, peer.certificate or b"")
        # Table and rules may have changed during the OCSP check.
        reason = self._refusal(leaf, identity) or self._status_refusal(status)
        doubt = status.flaw.value if isinstance(status, ocsp_result.UndeterminedStatus) else ""
        if reason is not None:
            self._record_refusal(peer, reason, leaf, identity, doubt=doubt)
            return None
        if doubt:
            stale = ConnectionRefusalReason.STALE
            listener = self.rules.listener
            self._sink.write(_record(listener, peer, "admitted", stale, leaf, identity, doubt))
        return self._admitted(peer, connection, leaf, identity)

    def _admitted(
        self,
        peer: ClientInfo,
        connection: ClosableConnection,
        leaf: Certificate,
        identity: Identity,
    ) -> ClientInfo:
        known = msgspec.structs.replace(
            peer,
            certificate_digest=hashlib.sha256(peer.certificate or b"").digest(),
            identity=identity,
            branch_key=branch_key(identity.crew, identity.branch) if identity.branch else None,
            serial=leaf.serial,
            listener=self.rules.listener,
            serial_text=leaf.serial_text,
            issued=leaf.issued,
            not_after=leaf.not_after,
        )
        key = certificate_key(identity.crew, leaf.serial)
        self._peer_connections.enter(key, connection, known)
        return known

    def leave(self, connection: ClosableConnection) -> None:
        """Forget a connection that has ended, if it was admitted."""
        self._peer_connections.leave(connection)

    def change(self, rules: PeerRules) -> None:
        """Replace the rules, and close the connections of crews that they do not admit."""
        previous, self.rules = self.rules, rules
        for connection, peer in self._peer_connections.at(previous.listener):
            if peer.crew and peer.crew not in rules.crews:  # gateways and operators have no crew
                self._peer_connections.leave(connection)
                connection.abort()
                self._sink.write(
                    disconnect_record(peer, time.time_ns(), ConnectionRefusalReason.CREW)
                )

    def _read(self, data: bytes | None) -> Certificate | None:
        return _read(data, self.rules.oids)

    def _refusal(self, leaf: Certificate, identity: Identity) -> ConnectionRefusalReason | None:
        if not leaf.is_client or leaf.is_authority:
            return ConnectionRefusalReason.NO_CLIENT_USAGE
        if identity.role not in self.rules.roles:
            return ConnectionRefusalReason.ROLE
        if identity.crew and identity.crew not in self.rules.crews:
            return ConnectionRefusalReason.CREW
        if certificate_key(identity.crew, leaf.serial) in self._peer_connections.recent_revocations:
            return ConnectionRefusalReason.REVOKED
        keys = revocable_by(identity, leaf.serial, leaf.issued)
        is_revoked = self._table().is_revoked
        return ConnectionRefusalReason.REVOKED if any(is_revoked(*by) for by in keys) else None

    def _status_refusal(
        self, status: ocsp_result.CertificateStatus
    ) -> ConnectionRefusalReason | None:
        """Return why a certificate with this OCSP status is refused, or None if it is not."""
        if isinstance(status, ocsp_result.RevokedStatus):
            return ConnectionRefusalReason.REVOKED
        if isinstance(status, ocsp_result.UnknownStatus):
            return ConnectionRefusalReason.UNKNOWN
        if isinstance(status, ocsp_result.UndeterminedStatus) and self.rules.ocsp == "required":
            return ConnectionRefusalReason.STALE
        return None

    def _record_refusal(
        self,
        peer: ClientInfo,
        reason: ConnectionRefusalReason,
        leaf: Certificate | None,
        identity: Identity | None = None,
        *,
        is_proven: bool = True,
        doubt: str = "",
    ) -> None:
        if not self._record_budget.take(time.monotonic()):
            self._sink.count(self.rules.listener, reason, peer_network(peer.address))
            return
        record = _record(self.rules.listener, peer, "refused", reason, leaf, identity, doubt)
        self._sink.write(msgspec.structs.replace(record, proven=is_proven))


def disconnect_record(
    peer: ClientInfo,
    wall_ns: int,
    reason: ConnectionRefusalReason = ConnectionRefusalReason.REVOKED,
) -> ConnectionRecord:
    """Return the audit record of a connection that is closed because of its certificate."""
    leaf = _read(peer.certificate, STANDARD)  # for its subject; `peer` has its identity
    record = _record(peer.listener, peer, "expelled", reason, leaf, peer.identity)
    serial = certificate_.serial_text(peer.serial)
    return msgspec.structs.replace(record, time=when(wall_ns), serial=serial)


def _record(
    listener: str,
    peer: ClientInfo,
    verdict: Literal["refused", "expelled", "admitted"],
    reason: ConnectionRefusalReason,
    leaf: Certificate | None,
    identity: Identity | None,
    doubt: str = "",
) -> ConnectionRecord:
    """Return the record of a client that has proved its certificate, as of now."""
    return ConnectionRecord(
        time=when(time.time_ns()),
        listener=listener,
        peer=peer_network(peer.address),
        verdict=verdict,
        reason=reason.value,
        doubt=doubt,
        proven=True,
        crew=identity.crew if identity else "",
        orchestrator=identity.holder if identity else "",
        branch=identity.branch if identity else "",
        serial=leaf.serial_text if leaf else "",
        subject=leaf.subject if leaf else "",
    )


def _read(data: bytes | None, oids: IdentityOIDs) -> Certificate | None:
    try:
        return certificate_.read(data, oids) if data else None
    except ValueError:
        return None


def _identity(leaf: Certificate) -> Identity | None:
    try:
        return leaf.speaks_for()
    except ValueError:
        return None
