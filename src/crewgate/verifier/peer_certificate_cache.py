"""Checks client certificates that an application's own TLS handshake has verified.

The handshake must have verified signature and chain; there is no X.509 library here. The other
checks are those of the gateway: the certificate is for clients, names an orchestrator or the agent
of a branch, is valid now, and neither it nor its orchestrator or branch is revoked in the table.
The contents of a certificate are cached; its validity and the table are checked in every call.
"""

import hashlib

import msgspec

from crewgate import limits
from crewgate.core.ids import branch_key
from crewgate.core.revocation_kinds import RevokedKeyLookup
from crewgate.core.x509.certificate import read, revocable_by
from crewgate.core.x509.identity_extension import Identity, Role
from crewgate.core.x509.identity_oids import STANDARD, IdentityOIDs

_NOT_DER = (
    "pass a peer certificate as bytes of DER (`ssl.PEM_cert_to_DER_cert` makes them from PEM text)"
)
_ROLES = (Role.ORCHESTRATOR, Role.AGENT)
_SEQUENCE = b"\x30"  # how the DER of each certificate begins (X.690, section 8.9)


class CrewCertificate(msgspec.Struct, frozen=True):
    """The certificate of an orchestrator or of a branch (DER); times are in seconds since 1970.

    `certificate_digest` is its SHA-256 digest. `branch_key` is the key of its branch in the table,
    if it is one of a branch. `revocable` are the keys, each with an issue time, whose revocation
    revokes it.
    """

    certificate: bytes
    certificate_digest: bytes
    identity: Identity
    branch_key: bytes | None
    serial_text: str
    not_before: int
    not_after: int
    revocable: tuple[tuple[bytes, int], ...]

    def is_revoked(self, table: RevokedKeyLookup) -> bool:
        """Return whether it is revoked, or its branch, or its orchestrator since it was issued."""
        return any(table.is_revoked(*by) for by in self.revocable)


class PeerCertificateCache:
    """A cache of at most `capacity` certificates; safe to use from many threads.

    `oids` are those of the configuration, under which identities are read.
    """

    def __init__(
        self, oids: IdentityOIDs = STANDARD, capacity: int = limits.peer_certificates_max
    ) -> None:
        self._oids = oids
        self._capacity = capacity
        self._known: dict[bytes, CrewCertificate | None] = {}

    def find(self, certificate: object) -> CrewCertificate | None:
        """Return what a certificate (DER) says; None if it is not a certificate of a crew.

        Raises:
            TypeError: `certificate` is not bytes.
            ValueError: It is PEM.
        """
        if type(certificate) is not bytes:
            raise TypeError(f"{_NOT_DER}, not {type(certificate).__name__}")
        # Other text may come before the first line of PEM (RFC 7468, section 5.2).
        if not certificate.startswith(_SEQUENCE) and b"-----BEGIN" in certificate:
            raise ValueError(f"{_NOT_DER}, not PEM")
        try:
            return self._known[certificate]
        except KeyError:
            found = _read(certificate, self._oids)
        if len(self._known) >= self._capacity:
            self._known = {}  # not cleared: another thread may be reading the old dict
        if len(certificate) <= limits.certificate_bytes_max:
            self._known[certificate] = found
        return found

    def admit(
        self, certificate: object, table: RevokedKeyLookup, now: float
    ) -> CrewCertificate | None:
        """Return `find(certificate)` if it is valid at `now` (wall clock, s) and not revoked.

        Raises:
            TypeError, ValueError: As `find`.
        """
        found = self.find(certificate)
        if found is None or not found.not_before <= now <= found.not_after:
            return None
        return None if found.is_revoked(table) else found


def _read(data: bytes, oids: IdentityOIDs) -> CrewCertificate | None:
    try:
        found = read(data, oids)
        identity = found.speaks_for()
    except ValueError:
        return None
    if not found.is_client or found.is_authority or identity.role not in _ROLES:
        return None
    return CrewCertificate(
        data,
        hashlib.sha256(data).digest(),
        identity,
        branch_key(identity.crew, identity.branch) if identity.branch else None,
        found.serial_text,
        found.not_before,
        found.not_after,
        revocable_by(identity, found.serial, found.issued),
    )
