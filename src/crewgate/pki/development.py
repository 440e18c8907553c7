"""A certificate authority for one machine: root, issuing CA, server certificate; ECDSA P-256.

Makes certificates and keys as values and writes nothing. P-256, because the X.509 verifier of
`cryptography` refuses Ed25519 certificates. Every extension that OpenSSL's strict mode asks for
(RFC 5280, section 4.2) is there, so that clients may verify strictly.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from crewgate import limits

Address = IPv4Address | IPv6Address


class Issued(NamedTuple):
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def __repr__(self) -> str:
        return f"<Issued {self.certificate.subject.rfc4514_string()}>"

    @property
    def certificate_pem(self) -> bytes:
        """The certificate alone."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The private key, PKCS 8, unencrypted."""
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )


def make_root(now: datetime) -> Issued:
    """A root that may sign issuing CAs and nothing else; `now` with a time zone."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("Crewgate development root")
    builder = _authority(name, name, key, now, limits.development_root_days, path_length=1)
    builder = _identified(builder, key, key)
    return Issued(builder.sign(key, hashes.SHA256()), key)


def make_issuing(root: Issued, now: datetime) -> Issued:
    """The CA that signs what is in use, so that the root's key can be put away."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _authority(
        _name("Crewgate development issuing CA"),
        root.certificate.subject,
        key,
        now,
        limits.development_issuing_days,
        path_length=0,
    )
    builder = _identified(builder, key, root.key)
    return Issued(builder.sign(root.key, hashes.SHA256()), key)


def make_server(
    issuing: Issued, names: Sequence[str], addresses: Sequence[Address], now: datetime
) -> Issued:
    """A TLS server's certificate for DNS names and IP addresses."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(
        _name("Crewgate gateway"),
        issuing.certificate.subject,
        key,
        now,
        limits.development_server_days,
    )
    subject = [x509.DNSName(name) for name in names] + [x509.IPAddress(ip) for ip in addresses]
    builder = (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(subject), critical=False)
    )
    builder = _identified(builder, key, issuing.key)
    return Issued(builder.sign(issuing.key, hashes.SHA256()), key)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # A clock that is a little behind must not refuse what was just made.
        .not_valid_before(now - timedelta(seconds=limits.certificate_backdate_seconds))
        .not_valid_after(now + timedelta(days=days))
    )


def _authority(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: datetime,
    days: int,
    *,
    path_length: int,
) -> x509.CertificateBuilder:
    return (
        _builder(subject, issuer, key, now, days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
    )


def _identified(
    builder: x509.CertificateBuilder,
    key: ec.EllipticCurvePrivateKey,
    issuer: ec.EllipticCurvePrivateKey,
) -> x509.CertificateBuilder:
    return builder.add_extension(
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
    ).add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()), critical=False
    )


def _usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
