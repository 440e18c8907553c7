"""Certificates that an embedder's own handshakes have proved: whom they speak for, and whether yet.

Reads them without any X.509 library, so it trusts the handshake for signature and chain; decides
the rest as the gateway does of a connection: for clients, of an orchestrator, valid now, and not
revoked in the table, nor its orchestrator. What was read of one is kept; its times and the table
are looked at in every call.
"""

from typing import Protocol

import msgspec

from crewgate import limits
from crewgate.core.x509.certificate import read, revocable_by
from crewgate.core.x509.identity import Identity, Role


class RevocationLookup(Protocol):
    """The shared table, as far as a certificate is concerned."""

    def is_revoked(self, key: bytes, issued_at: int = 0) -> bool:
        """Whether `key` is revoked for what was issued at that second."""


class VerifiedCertificate(msgspec.Struct, frozen=True):
    """An orchestrator's certificate (DER); times in seconds since the epoch."""

    certificate: bytes
    identity: Identity
    serial_text: str
    not_before: int
    not_after: int
    revocable: tuple[tuple[bytes, int], ...]

    def is_revoked(self, table: RevocationLookup) -> bool:
        """Whether the table has revoked it, or its orchestrator since it was issued."""
        return any(table.is_revoked(*by) for by in self.revocable)


class PeerCertificates:
    """The certificates seen of late, at most `capacity`; safe to use from many threads."""

    def __init__(self, capacity: int = limits.peer_certificates_max) -> None:
        self._capacity = capacity
        self._known: dict[bytes, VerifiedCertificate | None] = {}

    def __len__(self) -> int:
        return len(self._known)

    def find(self, certificate: object) -> VerifiedCertificate | None:
        """What a certificate (DER) says; None for what speaks for no orchestrator, or is none."""
        if type(certificate) is not bytes:
            return None
        try:
            return self._known[certificate]
        except KeyError:
            found = _read(certificate)
        if len(self._known) >= self._capacity:
            self._known = {}  # another thread may be reading the old one
        if len(certificate) <= limits.certificate_bytes_max:
            self._known[certificate] = found
        return found

    def admit(
        self, certificate: object, table: RevocationLookup, now: float
    ) -> VerifiedCertificate | None:
        """The same, if it is good at `now` (wall clock, seconds) by its times and the table."""
        found = self.find(certificate)
        if found is None or not found.not_before <= now <= found.not_after:
            return None
        return None if found.is_revoked(table) else found


def _read(data: bytes) -> VerifiedCertificate | None:
    try:
        found = read(data)
        identity = found.speaks_for()
    except ValueError:
        return None
    if not found.is_client or found.is_authority or identity.role is not Role.ORCHESTRATOR:
        return None
    return VerifiedCertificate(
        data,
        identity,
        found.serial_text,
        found.not_before,
        found.not_after,
        revocable_by(identity, found.serial, found.issued),
    )
