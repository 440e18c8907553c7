"""The certificates of Crewgate's CA: root, issuing CA, and what the issuing CA signs; ECDSA P-256.

Makes certificates as values and writes nothing. P-256, because the X.509 verifier of `cryptography`
refuses Ed25519 certificates. Every extension that OpenSSL's strict mode asks for (RFC 5280, section
4.2) is there, so that clients may verify strictly.
"""

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from crewgate import limits
from crewgate.core.x509 import identity as identity_
from crewgate.core.x509.identity import Identity, Role

_COMMON_CHARS_MAX = 64
# Nobody can foresee one (64 bits are the public CAs' rule), nor will two be the same. Not longer:
# a handshake hashes the whole list of the revoked, and the serial is half of an entry.
_SERIAL_BITS = 78
_IDENTITY = x509.ObjectIdentifier(identity_.OID)


class IssuedCertificate(NamedTuple):
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def __repr__(self) -> str:
        return f"<Issued {self.certificate.subject.rfc4514_string()}>"

    @property
    def certificate_pem(self) -> bytes:
        """The certificate alone."""
        return pem(self.certificate)

    @property
    def key_pem(self) -> bytes:
        """The private key, PKCS 8, unencrypted."""
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )


class CertificateValidity(NamedTuple):
    """When a certificate begins and ends; times with a zone, exact to the second."""

    begin: datetime
    end: datetime

    @classmethod
    def of(
        cls, now: datetime, life: timedelta, *, until: datetime | None = None
    ) -> "CertificateValidity":
        """From a little before `now`, for so long, but not beyond `until`.

        Backdated, because a clock that is a little behind must not refuse what was just made.
        """
        now = now.replace(microsecond=0)
        end = now + life
        begin = now - timedelta(seconds=limits.certificate_backdate_seconds)
        return cls(begin, end if until is None else min(end, until))


def pem(certificate: x509.Certificate) -> bytes:
    """PEM text of one certificate."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def new_key() -> ec.EllipticCurvePrivateKey:
    """Make a private key."""
    return ec.generate_private_key(ec.SECP256R1())


def make_root(now: datetime, name: str = "Crewgate root") -> IssuedCertificate:
    """A root that may sign issuing CAs and nothing else; `now` with a time zone."""
    key = new_key()
    validity = CertificateValidity.of(now, timedelta(days=limits.ca_root_days))
    builder = _authority(_name(name), _name(name), key, validity, path_length=1)
    return IssuedCertificate(_signed(builder, key.public_key(), key), key)


def make_issuing(
    root: IssuedCertificate, now: datetime, name: str = "Crewgate issuing CA"
) -> IssuedCertificate:
    """The CA that signs what is in use, so that the root's key can be put away."""
    key, until = new_key(), root.certificate.not_valid_after_utc
    validity = CertificateValidity.of(now, timedelta(days=limits.ca_issuing_days), until=until)
    builder = _authority(_name(name), root.certificate.subject, key, validity, path_length=0)
    return IssuedCertificate(_signed(builder, key.public_key(), root.key), key)


def is_issued(lower: x509.Certificate, upper: x509.Certificate) -> bool:
    """Whether `upper` has signed `lower`, by its name and its key."""
    try:
        lower.verify_directly_issued_by(upper)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def make_server(
    issuing: IssuedCertificate, hosts: Sequence[x509.GeneralName], now: datetime
) -> IssuedCertificate:
    """What any TLS client can read: a server's certificate that says who nobody is.

    Go's crypto/x509 refuses a certificate with the identity extension, whose identifier has an arc
    of 128 bits; orchestrators' and gateways' are read by our own kind alone.
    """
    key, until = new_key(), issuing.certificate.not_valid_after_utc
    validity = CertificateValidity.of(now, timedelta(days=limits.ca_server_days), until=until)
    builder = _leaf(
        issuing, _name("Crewgate gateway"), key.public_key(), validity,
        [ExtendedKeyUsageOID.SERVER_AUTH],
    )  # fmt: skip
    builder = builder.add_extension(x509.SubjectAlternativeName(hosts), critical=False)
    return IssuedCertificate(_signed(builder, key.public_key(), issuing.key), key)


def make_next_server(
    issuing: IssuedCertificate, before: x509.Certificate, validity: CertificateValidity
) -> x509.Certificate:
    """The next of a server's certificate: same subject, key and names. ValueError for another's."""
    extensions = before.extensions
    usages = list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    public = before.public_key()
    is_server = usages == [ExtendedKeyUsageOID.SERVER_AUTH]
    if not is_server or any(each.oid == _IDENTITY for each in extensions):
        raise ValueError("not a certificate of a server alone")
    if not isinstance(public, ec.EllipticCurvePublicKey):
        raise ValueError("a key of another kind")  # noqa: TRY004 - one kind of error for all
    builder = _leaf(issuing, before.subject, public, validity, usages)
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return _signed(builder, public, issuing.key)


def make_responder(issuing: IssuedCertificate, now: datetime) -> IssuedCertificate:
    """A delegated OCSP responder's (RFC 6960, section 4.2.2.2), whose life is its revocation."""
    key = new_key()
    until = issuing.certificate.not_valid_after_utc
    validity = CertificateValidity.of(
        now, timedelta(seconds=limits.ocsp_responder_seconds), until=until
    )
    builder = _leaf(
        issuing, _name("Crewgate OCSP responder"), key.public_key(), validity,
        [ExtendedKeyUsageOID.OCSP_SIGNING],
    )  # fmt: skip
    builder = builder.add_extension(x509.OCSPNoCheck(), critical=False)
    return IssuedCertificate(_signed(builder, key.public_key(), issuing.key), key)


def make_leaf(
    issuing: IssuedCertificate,
    public: ec.EllipticCurvePublicKey,
    identity: Identity,
    domain: str,
    validity: CertificateValidity,
    hosts: Sequence[x509.GeneralName] = (),
) -> x509.Certificate:
    """The certificate of a process: identity extension, SPIFFE ID, and `hosts` for a gateway.

    ValueError for an identity that cannot be.
    """
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if identity.role is Role.GATEWAY:
        usages.insert(0, ExtendedKeyUsageOID.SERVER_AUTH)
    value = identity_.encode(identity)
    # A common name has at most 64 characters (RFC 5280, ub-common-name); it is for people alone.
    common = identity.label if len(identity.label) <= _COMMON_CHARS_MAX else identity.name
    subject = x509.UniformResourceIdentifier(identity.spiffe_id(domain))
    builder = (
        _leaf(issuing, _name(common), public, validity, usages)
        .add_extension(x509.SubjectAlternativeName([subject, *hosts]), critical=False)
        .add_extension(x509.UnrecognizedExtension(_IDENTITY, value), critical=False)
    )
    return _signed(builder, public, issuing.key)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _leaf(
    issuing: IssuedCertificate,
    subject: x509.Name,
    public: ec.EllipticCurvePublicKey,
    validity: CertificateValidity,
    usages: Sequence[x509.ObjectIdentifier],
) -> x509.CertificateBuilder:
    constraints = x509.BasicConstraints(ca=False, path_length=None)
    return (
        _builder(subject, issuing.certificate.subject, public, validity)
        .add_extension(constraints, critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    )


def _authority(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    validity: CertificateValidity,
    *,
    path_length: int,
) -> x509.CertificateBuilder:
    return (
        _builder(subject, issuer, key.public_key(), validity)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
    )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    validity: CertificateValidity,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(secrets.randbits(_SERIAL_BITS) | 1 << _SERIAL_BITS)
        .not_valid_before(validity.begin)
        .not_valid_after(validity.end)
    )


def _signed(
    builder: x509.CertificateBuilder,
    public: ec.EllipticCurvePublicKey,
    issuer: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    """Add the identifiers of both keys (RFC 5280, sections 4.2.1.1 and 4.2.1.2), and sign."""
    subject_key = x509.SubjectKeyIdentifier.from_public_key(public)
    authority_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key())
    return (
        builder.add_extension(subject_key, critical=False)
        .add_extension(authority_key, critical=False)
        .sign(issuer, hashes.SHA256())
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
