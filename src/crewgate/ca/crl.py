"""Builds and reads the CA's certificate revocation list (CRL, RFC 5280, section 5).

Gateways check it inside the TLS handshake, so a revoked client gets the right alert. They refuse
every client once the CRL is stale, so the CA signs a new one long before.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from crewgate import limits
from crewgate.ca.certificates import CertificateAndKey
from crewgate.ca.key_files import read_bounded
from crewgate.core.x509.certificate import serial_text
from crewgate.errors import CAError

KEY_COMPROMISE = "keyCompromise"
# The reasons of RFC 5280, section 5.3.1, except those for CAs, for holds and for delta CRLs.
REASONS = {
    reason.value: reason
    for reason in (
        x509.ReasonFlags.unspecified,
        x509.ReasonFlags.key_compromise,
        x509.ReasonFlags.affiliation_changed,
        x509.ReasonFlags.superseded,
        x509.ReasonFlags.cessation_of_operation,
        x509.ReasonFlags.privilege_withdrawn,
    )
}


def make_crl(
    issuing: CertificateAndKey, entries: Iterable[tuple[str, int, str]], number: int, now: datetime
) -> bytes:
    """Return a signed CRL (PEM).

    `entries` have a serial (hexadecimal), a time (seconds since the epoch) and a reason.
    """
    now = now.replace(microsecond=0)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuing.certificate.subject)
        .last_update(now - timedelta(seconds=limits.certificate_backdate_seconds))
        .next_update(now + timedelta(seconds=limits.crl_seconds))
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuing.key.public_key()),
            critical=False,
        )
    )
    for serial, revoked, _ in entries:
        builder = builder.add_revoked_certificate(_entry(serial, revoked))
    return builder.sign(issuing.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def is_signed_by(crl: x509.CertificateRevocationList, signer: x509.Certificate) -> bool:
    """Return whether `signer` issued the CRL, by its name and by its key's signature."""
    try:
        return crl.issuer == signer.subject and crl.is_signature_valid(
            signer.public_key()  # type: ignore[arg-type]  # a kind that cannot sign: TypeError
        )
    except TypeError:
        return False


def revoked_serials(path: Path) -> frozenset[str] | None:
    """Return the serials (upper-case hexadecimal) in a CRL file; None if it is not a CRL."""
    try:
        data = read_bounded(path, limits.crl_bytes_max, "CRL")
        return frozenset(serial_text(each.serial_number) for each in x509.load_pem_x509_crl(data))
    except (CAError, ValueError):
        return None


def _entry(serial: str, revoked: int) -> x509.RevokedCertificate:
    """Return an entry without its reason, which the register, the audit log and OCSP have.

    OpenSSL hashes the whole CRL in each handshake, and reasons would add half to its size.
    """
    return (
        x509.RevokedCertificateBuilder()
        .serial_number(int(serial, 16))
        .revocation_date(datetime.fromtimestamp(revoked, UTC))
        .build()
    )
