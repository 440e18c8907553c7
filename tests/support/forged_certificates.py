"""Certificates as our CA would never issue them, signed with its own key; and other CAs."""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from authority import Files
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from crewgate.ca.certificates import (
    CertificateAndKey,
    make_issuing,
    make_root,
    make_server,
    new_key,
    pem,
)
from crewgate.ca.key_files import key_pem, read_certificates, read_key
from crewgate.cli.ca_argument_checks import host_names
from crewgate.config import CAConfig
from crewgate.core.x509 import identity_extension as identity_
from crewgate.core.x509.identity_extension import Identity, Role
from crewgate.core.x509.identity_oids import DEFAULT

OID = x509.ObjectIdentifier(DEFAULT)
CLIENT = (ExtendedKeyUsageOID.CLIENT_AUTH,)
SERVER = (ExtendedKeyUsageOID.SERVER_AUTH,)
INSTANCE = bytes(range(16))
HOUR = dt.timedelta(hours=1)


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC).replace(microsecond=0)


def bd(name: str = "bd-1", role: Role = Role.ORCHESTRATOR, crew: str = "bd") -> Identity:
    """An identity; only an orchestrator and an agent have a crew."""
    return Identity(role, name, INSTANCE, crew if role in {Role.ORCHESTRATOR, Role.AGENT} else "")


def issuing_of(ca: CAConfig) -> CertificateAndKey:
    """The issuing CA of an installation."""
    return CertificateAndKey(read_certificates(ca.issuing)[0], read_key(ca.issuing_key))


def other_issuing() -> CertificateAndKey:
    """An issuing CA of the same names as ours, and other keys."""
    return make_issuing(make_root(now()), now())


def server(issuing: CertificateAndKey, *hosts: str) -> CertificateAndKey:
    """A certificate as our listeners show it, for DNS names and IP addresses."""
    return make_server(issuing, host_names(hosts), now())


def leaf(
    issuing: CertificateAndKey,
    *,
    identity: Identity | bytes | None,
    usages: Sequence[x509.ObjectIdentifier] | None = CLIENT,
    begin: dt.datetime | None = None,
    end: dt.datetime | None = None,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
    name: str = "odd",
) -> CertificateAndKey:
    """A leaf with all that strict verification wants, but for what the caller has it say."""
    key = new_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuing.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin or now() - HOUR)
        .not_valid_after(end or now() + HOUR)
    )
    for extension, critical in (*_usual(key, issuing, identity, usages), *extensions):
        builder = builder.add_extension(extension, critical)
    return CertificateAndKey(builder.sign(issuing.key, hashes.SHA256()), key)


def _usual(
    key: ec.EllipticCurvePrivateKey,
    issuing: CertificateAndKey,
    identity: Identity | bytes | None,
    usages: Sequence[x509.ObjectIdentifier] | None,
) -> list[tuple[x509.ExtensionType, bool]]:
    usage: dict[str, Any] = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
         "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"), False,
    )  # fmt: skip
    found: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (x509.KeyUsage(digital_signature=True, **usage), True),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        (
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuing.key.public_key()),
            False,
        ),
        (x509.SubjectAlternativeName([x509.UniformResourceIdentifier("spiffe://x/y")]), False),
    ]
    if usages is not None:
        found.append((x509.ExtendedKeyUsage(usages), False))
    if identity is not None:
        value = identity if isinstance(identity, bytes) else identity_.encode(identity)
        found.append((x509.UnrecognizedExtension(OID, value), False))
    return found


def write(folder: Path, issued: CertificateAndKey, issuing: CertificateAndKey) -> Files:
    """Chain and key as PEM files."""
    stem = f"forged-{issued.certificate.serial_number:x}"
    files = Files(folder / f"{stem}.pem", folder / f"{stem}.key")
    files.certificate.write_bytes(pem(issued.certificate) + pem(issuing.certificate))
    files.key.write_bytes(key_pem(issued.key))
    files.key.chmod(0o600)
    return files
