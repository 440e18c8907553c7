"""Builds the certificates of the CA: root, issuing CA, and all that the issuing CA signs.

It returns values and writes no file. All keys are ECDSA P-256, because the X.509 verifier of
`cryptography` refuses Ed25519 certificates. Each certificate has every extension that OpenSSL's
strict mode requires (RFC 5280, section 4.2), so clients may verify strictly.
"""

import secrets
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from crewgate import limits
from crewgate.ca.key_files import key_pem
from crewgate.core.x509 import der, identity_oids
from crewgate.core.x509 import identity_extension as identity_
from crewgate.core.x509.certificate import read
from crewgate.core.x509.identity_extension import Identity, Role
from crewgate.core.x509.identity_oids import STANDARD, IdentityOIDs

_COMMON_CHARS_MAX = 64
# Random bits of a serial, which make it unpredictable (public CAs must use 64 bits) and unique. It
# is not longer because a handshake hashes the whole CRL, and a serial is half of an entry there.
_SERIAL_BITS = 78


class CertificateAndKey(NamedTuple):
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def __repr__(self) -> str:
        return f"<CertificateAndKey {self.certificate.subject.rfc4514_string()}>"

    @property
    def certificate_pem(self) -> bytes:
        """The certificate in PEM, without its chain."""
        return pem(self.certificate)

    @property
    def key_pem(self) -> bytes:
        """The private key in PEM (PKCS 8), unencrypted."""
        return key_pem(self.key)


class CertificateValidity(NamedTuple):
    """The begin and the end of a certificate: times with a time zone, in whole seconds."""

    begin: datetime
    end: datetime

    @classmethod
    def of(
        cls, now: datetime, life: timedelta, *, until: datetime | None = None
    ) -> "CertificateValidity":
        """Return the validity from just before `now` to `now` plus `life`, but at most to `until`.

        It is backdated, so that a client whose clock is a little behind accepts a new certificate.
        """
        now = now.replace(microsecond=0)
        end = now + life
        begin = now - timedelta(seconds=limits.certificate_backdate_seconds)
        return cls(begin, end if until is None else min(end, until))


def pem(certificate: x509.Certificate) -> bytes:
    """Return the PEM of one certificate."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def new_key() -> ec.EllipticCurvePrivateKey:
    """Return a new private key."""
    return ec.generate_private_key(ec.SECP256R1())


def make_root(now: datetime, name: str = "Crewgate root") -> CertificateAndKey:
    """Return a root that may sign only issuing CAs. `now` has a time zone."""
    key = new_key()
    validity = CertificateValidity.of(now, timedelta(days=limits.ca_root_days))
    builder = _authority(_name(name), _name(name), key, validity, path_length=1)
    return CertificateAndKey(_signed(builder, key.public_key(), key), key)


def make_issuing(
    root: CertificateAndKey, now: datetime, name: str = "Crewgate issuing CA"
) -> CertificateAndKey:
    """Return the CA that signs the certificates in use, so the root's key can be kept offline."""
    key, until = new_key(), root.certificate.not_valid_after_utc
    validity = CertificateValidity.of(now, timedelta(days=limits.ca_issuing_days), until=until)
    builder = _authority(_name(name), root.certificate.subject, key, validity, path_length=0)
    return CertificateAndKey(_signed(builder, key.public_key(), root.key), key)


def is_issued(lower: x509.Certificate, upper: x509.Certificate) -> bool:
    """Return whether `upper` issued `lower`: by its name, and by its key's signature."""
    try:
        lower.verify_directly_issued_by(upper)
    except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return True


def identity_in(certificate: x509.Certificate, oids: IdentityOIDs = STANDARD) -> Identity:
    """Return the identity that a certificate names. Raises ValueError if it names none."""
    return read(certificate.public_bytes(serialization.Encoding.DER), oids).speaks_for()


def identity_under_any_oid(certificate: x509.Certificate) -> Identity:
    """Return the identity in a certificate, under whichever OID it is.

    It is for a certificate that the caller has from the register, or shows itself: such a caller
    may have no configuration that names the OID. Raises ValueError if the certificate names no
    identity.
    """
    for extension in certificate.extensions:
        if isinstance(extension.value, x509.UnrecognizedExtension):
            with suppress(ValueError):
                return identity_.decode(extension.value.value)
    raise ValueError("the certificate has no identity extension")


def make_server(
    issuing: CertificateAndKey,
    hosts: Sequence[x509.GeneralName],
    now: datetime,
    life_seconds: int = limits.gateway_life_seconds_max,
) -> CertificateAndKey:
    """Return a server certificate without an identity, which every TLS client accepts.

    It names hosts and no holder.
    """
    life, names = timedelta(seconds=life_seconds), x509.SubjectAlternativeName(hosts)
    usage = ExtendedKeyUsageOID.SERVER_AUTH
    return _make_own(issuing, "Crewgate gateway", now, life, usage, names)


def make_next_server(
    issuing: CertificateAndKey,
    before: x509.Certificate,
    validity: CertificateValidity,
    oids: IdentityOIDs = STANDARD,
) -> x509.Certificate:
    """Return a server's next certificate, with the same subject, key and names.

    Raises ValueError or x509.ExtensionNotFound if `before` is not a server certificate.
    """
    extensions = before.extensions
    usages = list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    public = before.public_key()
    is_server = usages == [ExtendedKeyUsageOID.SERVER_AUTH]
    names_holder = any(
        der.identifier(each.oid.dotted_string) in oids.readable for each in extensions
    )
    if not is_server or names_holder:
        raise ValueError("it is not a plain server certificate")
    if not isinstance(public, ec.EllipticCurvePublicKey):
        raise ValueError("its key is not ECDSA")  # noqa: TRY004 - one kind of error for all
    builder = _leaf(issuing, before.subject, public, validity, usages)
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return _signed(builder, public, issuing.key)


def make_responder(issuing: CertificateAndKey, now: datetime) -> CertificateAndKey:
    """Return a delegated OCSP responder's certificate (RFC 6960, section 4.2.2.2).

    It is short-lived instead of revocable.
    """
    life, usage = timedelta(seconds=limits.ocsp_responder_seconds), ExtendedKeyUsageOID.OCSP_SIGNING
    return _make_own(issuing, "Crewgate OCSP responder", now, life, usage, x509.OCSPNoCheck())


def make_leaf(
    issuing: CertificateAndKey,
    public: ec.EllipticCurvePublicKey,
    identity: Identity,
    domain: str,
    validity: CertificateValidity,
    hosts: Sequence[x509.GeneralName] = (),
    *,
    oid: str = identity_oids.DEFAULT,
) -> x509.Certificate:
    """Return a process's certificate: identity extension, SPIFFE ID, and a gateway's `hosts`.

    The identity extension has the OID `oid` (dotted text). Raises ValueError for an invalid
    identity.
    """
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if identity.role is Role.GATEWAY:
        usages.insert(0, ExtendedKeyUsageOID.SERVER_AUTH)
    extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), identity_.encode(identity))
    # A common name has at most 64 characters (RFC 5280, ub-common-name). Only people read it.
    common = identity.label if len(identity.label) <= _COMMON_CHARS_MAX else identity.name
    subject = x509.UniformResourceIdentifier(identity.spiffe_id(domain))
    builder = (
        _leaf(issuing, _name(common), public, validity, usages)
        .add_extension(x509.SubjectAlternativeName([subject, *hosts]), critical=False)
        .add_extension(extension, critical=False)
    )
    return _signed(builder, public, issuing.key)


def _make_own(
    issuing: CertificateAndKey,
    name: str,
    now: datetime,
    life: timedelta,
    usage: x509.ObjectIdentifier,
    extension: x509.ExtensionType,
) -> CertificateAndKey:
    key, until = new_key(), issuing.certificate.not_valid_after_utc
    validity = CertificateValidity.of(now, life, until=until)
    builder = _leaf(issuing, _name(name), key.public_key(), validity, [usage])
    builder = builder.add_extension(extension, critical=False)
    return CertificateAndKey(_signed(builder, key.public_key(), issuing.key), key)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _leaf(
    issuing: CertificateAndKey,
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
    """Add the identifiers of both keys (RFC 5280, sections 4.2.1.1 and 4.2.1.2), and sign it."""
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
