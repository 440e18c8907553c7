"""Certificates as the internal CA makes them, for verdicts that begin after a handshake."""

import datetime as dt
from functools import cache

import forged_certificates
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from crewgate.ca.certificates import (
    CertificateAndKey,
    CertificateValidity,
    make_issuing,
    make_leaf,
    make_root,
    new_key,
)
from crewgate.core.x509.identity_extension import Identity, Role

HOUR = dt.timedelta(hours=1)
INSTANCE = bytes(range(16))


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


@cache
def issuing() -> CertificateAndKey:
    """One CA for a whole run of tests."""
    return make_issuing(make_root(now()), now())


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def pem_text(data: bytes) -> str:
    """What a server's TLS extension has of a certificate."""
    return x509.load_der_x509_certificate(data).public_bytes(Encoding.PEM).decode()


def leaf(
    crew: str = "article",
    name: str = "article-1",
    *,
    role: Role = Role.ORCHESTRATOR,
    ago: dt.timedelta = dt.timedelta(),
    life: dt.timedelta = 4 * HOUR,
    instance: bytes = INSTANCE,
) -> bytes:
    """DER of a process's certificate, issued so long ago."""
    has_crew = role in {Role.ORCHESTRATOR, Role.AGENT}
    identity = Identity(role, name, instance, crew if has_crew else "")
    validity = CertificateValidity.of(now() - ago, life)
    made = make_leaf(issuing(), new_key().public_key(), identity, "example.internal", validity)
    return der(made)


def server() -> bytes:
    """DER of a server's, which says nothing of clients or identities."""
    return der(
        forged_certificates.leaf(
            issuing(), identity=None, usages=forged_certificates.SERVER
        ).certificate
    )
