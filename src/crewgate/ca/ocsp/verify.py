"""Whether an OCSP response settles the status of one certificate: bytes and a time in, a noun out.

Refuses whatever is not the issuer's own fresh word about this very certificate. A delegate of the
issuer (RFC 6960, section 4.2.2.2) is believed while its certificate is valid; whether that has
been revoked is not asked, since the same responder would say so: with or without the `nocheck`
extension, its life is the bound. Does no I/O and raises for nothing that a responder can send.
"""

import hmac
from collections.abc import Iterator

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, SignatureAlgorithmOID

from crewgate import limits
from crewgate.core.x509.certificate_status import (
    CertificateStatus,
    GoodStatus,
    RevokedStatus,
    UndeterminedReason,
    UndeterminedStatus,
    UnknownStatus,
)

_SHA1 = hashes.SHA1()  # noqa: S303 - names an issuer and signs nothing
# No SHA-1 and no RSASSA-PSS; each algorithm with the hash that is signed.
_ECDSA: dict[x509.ObjectIdentifier, hashes.HashAlgorithm] = {
    SignatureAlgorithmOID.ECDSA_WITH_SHA256: hashes.SHA256(),
    SignatureAlgorithmOID.ECDSA_WITH_SHA384: hashes.SHA384(),
    SignatureAlgorithmOID.ECDSA_WITH_SHA512: hashes.SHA512(),
}
_RSA: dict[x509.ObjectIdentifier, hashes.HashAlgorithm] = {
    SignatureAlgorithmOID.RSA_WITH_SHA256: hashes.SHA256(),
    SignatureAlgorithmOID.RSA_WITH_SHA384: hashes.SHA384(),
    SignatureAlgorithmOID.RSA_WITH_SHA512: hashes.SHA512(),
}


class ExpectedResponse(msgspec.Struct, frozen=True):
    """What a response must say: of `certificate`, which the issuer has issued, as of `now`.

    A response without the nonce that was sent passes where `may_lack_nonce`; a response with
    another nonce never passes.
    """

    certificate: x509.Certificate
    now: float  # seconds since the epoch
    nonce: bytes | None = None
    may_lack_nonce: bool = False


class OCSPIssuer:
    """The CA whose certificates are asked about, as CertIDs name it."""

    def __init__(self, certificate: x509.Certificate) -> None:
        self.certificate = certificate

    def __repr__(self) -> str:
        return f"<OCSPIssuer {self.certificate.subject.rfc4514_string()}>"

    def issued(self, leaf: x509.Certificate) -> bool:
        """Whether it has signed `leaf`: another CA below the same root has another responder."""
        return _is_issued_by(leaf, self.certificate)

    def request(self, leaf: x509.Certificate, nonce: bytes) -> bytes:
        """DER of an unsigned request; in terms of SHA-1, which every responder knows (RFC 5019)."""
        builder = ocsp.OCSPRequestBuilder().add_certificate(leaf, self.certificate, _SHA1)
        request = builder.add_extension(x509.OCSPNonce(nonce), critical=False).build()
        return request.public_bytes(serialization.Encoding.DER)

    def is_named_by(
        self, named: ocsp.OCSPRequest | ocsp.OCSPSingleResponse, leaf: x509.Certificate
    ) -> bool:
        """Whether a question or an answer names this issuer, which has issued `leaf`.

        Raises:
            UnsupportedAlgorithm: It names an issuer by a hash that `cryptography` does not know.
        """
        builder = ocsp.OCSPRequestBuilder()
        own = builder.add_certificate(leaf, self.certificate, named.hash_algorithm).build()
        return (
            own.issuer_name_hash == named.issuer_name_hash
            and own.issuer_key_hash == named.issuer_key_hash
        )


class _RejectedError(Exception):
    """The response settles nothing; never leaves this file."""

    def __init__(self, flaw: UndeterminedReason, detail: str = "") -> None:
        super().__init__(detail)
        self.doubt = UndeterminedStatus(flaw, detail)


def verify(data: bytes, issuer: OCSPIssuer, asking: ExpectedResponse) -> CertificateStatus:
    """What the DER of a response says of one certificate.

    `RevokedStatus` is believed however old it is, since no revocation is taken back; everything
    else must be fresh.
    """
    if len(data) > limits.ocsp_response_bytes_max:
        return UndeterminedStatus(
            UndeterminedReason.MALFORMED, f"over {limits.ocsp_response_bytes_max} bytes"
        )
    try:
        return _judge(ocsp.load_der_ocsp_response(data), issuer, asking)
    except _RejectedError as rejected:
        return rejected.doubt
    except Exception:  # noqa: BLE001 - the library has several kinds for what it cannot read
        return UndeterminedStatus(UndeterminedReason.MALFORMED)


def _judge(
    response: ocsp.OCSPResponse, issuer: OCSPIssuer, asking: ExpectedResponse
) -> CertificateStatus:
    status = response.response_status
    if status is ocsp.OCSPResponseStatus.TRY_LATER:
        raise _RejectedError(UndeterminedReason.TRY_LATER)
    if status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        raise _RejectedError(UndeterminedReason.REFUSED, f"it said {status.name}")
    _check_signed(response, issuer, asking.now)
    single = _find(response, issuer, asking.certificate)
    if any(_is_strange(extension) for extension in response.extensions):
        raise _RejectedError(
            UndeterminedReason.MALFORMED, "a critical extension that is not understood"
        )
    until = 0.0 if single.next_update_utc is None else single.next_update_utc.timestamp()
    if single.certificate_status is ocsp.OCSPCertStatus.REVOKED:
        at, why = single.revocation_time_utc, single.revocation_reason
        return RevokedStatus(at.timestamp() if at else 0.0, why.value if why else "", until)
    _check_nonce(response, asking)
    _check_times(single, asking.now)
    if single.certificate_status is ocsp.OCSPCertStatus.GOOD:
        return GoodStatus(until)
    return UnknownStatus()


def _find(
    response: ocsp.OCSPResponse, issuer: OCSPIssuer, leaf: x509.Certificate
) -> ocsp.OCSPSingleResponse:
    """The one answer about this certificate; two might contradict each other."""
    ours = [single for single in response.responses if issuer.is_named_by(single, leaf)]
    if not ours:
        raise _RejectedError(UndeterminedReason.ISSUER)
    found = [single for single in ours if single.serial_number == leaf.serial_number]
    if not found:
        raise _RejectedError(UndeterminedReason.SERIAL)
    if len(found) > 1:
        raise _RejectedError(UndeterminedReason.MALFORMED, "two answers to one question")
    return found[0]


def _check_nonce(response: ocsp.OCSPResponse, asking: ExpectedResponse) -> None:
    if asking.nonce is None:
        return
    found = [each.value for each in response.extensions if isinstance(each.value, x509.OCSPNonce)]
    if not found:
        if not asking.may_lack_nonce:
            raise _RejectedError(
                UndeterminedReason.NONCE, "it has none, and anybody could replay it"
            )
    elif not hmac.compare_digest(found[0].nonce, asking.nonce):
        raise _RejectedError(UndeterminedReason.NONCE)


def _check_times(single: ocsp.OCSPSingleResponse, now: float) -> None:
    """RFC 6960, section 3.2; and without an end it would be good for ever (RFC 5019, section 4)."""
    leeway = limits.leeway_seconds
    begin = single.this_update_utc.timestamp()
    if begin > now + leeway:
        raise _RejectedError(UndeterminedReason.FUTURE, f"by {begin - now:.0f} s; set the clocks")
    if single.next_update_utc is None:
        raise _RejectedError(UndeterminedReason.NO_NEXT_UPDATE)
    end = single.next_update_utc.timestamp()
    if end < now - leeway:
        raise _RejectedError(UndeterminedReason.STALE, f"by {now - end:.0f} s")
    if end < begin:
        raise _RejectedError(UndeterminedReason.MALFORMED, "it ends before it begins")


def _check_signed(response: ocsp.OCSPResponse, issuer: OCSPIssuer, now: float) -> None:
    """By the issuer, or by a delegate that it has certified for just this."""
    is_authorized = False
    for signer in _signers(response, issuer, now):
        is_authorized = True
        if _is_signed_by(response, signer):
            return
    if is_authorized:
        raise _RejectedError(UndeterminedReason.SIGNATURE)
    raise _RejectedError(UndeterminedReason.SIGNER)


def _signers(
    response: ocsp.OCSPResponse, issuer: OCSPIssuer, now: float
) -> Iterator[x509.Certificate]:
    """Whoever has the responder's name or key, and may sign for the issuer."""
    if _is_named(response, issuer.certificate):
        yield issuer.certificate
    for certificate in response.certificates[: limits.chain_certificates_max]:
        if _is_named(response, certificate) and _is_delegate(certificate, issuer, now):
            yield certificate


def _is_named(response: ocsp.OCSPResponse, certificate: x509.Certificate) -> bool:
    if response.responder_name is not None:
        return response.responder_name == certificate.subject
    key = x509.SubjectKeyIdentifier.from_public_key(certificate.public_key())
    return response.responder_key_hash == key.digest  # both SHA-1 of the key's bits


def _is_delegate(certificate: x509.Certificate, issuer: OCSPIssuer, now: float) -> bool:
    leeway = limits.leeway_seconds
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not begin.timestamp() - leeway <= now <= end.timestamp() + leeway:
        return False
    extensions = certificate.extensions
    if any(map(_is_strange, extensions)):
        return False
    for extension in extensions:
        if isinstance(extension.value, x509.KeyUsage) and not extension.value.digital_signature:
            return False
    usages = [each.value for each in extensions if isinstance(each.value, x509.ExtendedKeyUsage)]
    # Said in as many words: `anyExtendedKeyUsage` is not enough (RFC 6960 §4.2.2.2).
    if not any(ExtendedKeyUsageOID.OCSP_SIGNING in usage for usage in usages):
        return False
    return issuer.issued(certificate)


def _is_strange(extension: x509.Extension[x509.ExtensionType]) -> bool:
    return extension.critical and isinstance(extension.value, x509.UnrecognizedExtension)


def _is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _is_signed_by(response: ocsp.OCSPResponse, signer: x509.Certificate) -> bool:
    key, algorithm = signer.public_key(), response.signature_algorithm_oid
    signature, data = response.signature, response.tbs_response_bytes
    try:
        if isinstance(key, ec.EllipticCurvePublicKey) and algorithm in _ECDSA:
            key.verify(signature, data, ec.ECDSA(_ECDSA[algorithm]))
        elif isinstance(key, rsa.RSAPublicKey) and algorithm in _RSA:
            key.verify(signature, data, padding.PKCS1v15(), _RSA[algorithm])
        elif (
            isinstance(key, ed25519.Ed25519PublicKey) and algorithm == SignatureAlgorithmOID.ED25519
        ):
            key.verify(signature, data)
        else:
            return False
    except InvalidSignature:
        return False
    return True
