"""Verifies an OCSP response and returns the status of one certificate.

A response counts only if it is fresh, about this certificate, and signed by its issuer or by a
delegate of the issuer (RFC 6960, section 4.2.2.2) with a valid certificate. Nobody checks whether
the delegate's certificate is revoked, since the same responder would answer; so its lifetime is the
bound, with or without the `nocheck` extension. Does no I/O, and raises nothing for any input.
"""

import hmac
from collections.abc import Iterator

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, SignatureAlgorithmOID

from crewgate import limits
from crewgate.ca.certificates import is_issued
from crewgate.core.x509.ocsp_result import (
    CertificateStatus,
    GoodStatus,
    RevokedStatus,
    UndeterminedReason,
    UndeterminedStatus,
    UnknownStatus,
)

_SHA1 = hashes.SHA1()  # noqa: S303 - identifies an issuer, signs nothing
# The accepted signature algorithms with their hash: no SHA-1 and no RSASSA-PSS.
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
    """What a response must be about: a certificate, at the time `now` (seconds since the epoch).

    If `may_lack_nonce` is set, a response may lack the nonce of the request. A response with
    another nonce is never accepted.
    """

    certificate: x509.Certificate
    now: float
    nonce: bytes
    may_lack_nonce: bool = False


class OCSPIssuer:
    """The CA that issued the certificates in question, as CertIDs identify it."""

    def __init__(self, certificate: x509.Certificate) -> None:
        self.certificate = certificate

    def __repr__(self) -> str:
        return f"<OCSPIssuer {self.certificate.subject.rfc4514_string()}>"

    def request(self, leaf: x509.Certificate, nonce: bytes) -> bytes:
        """Return an unsigned request (DER).

        It identifies the issuer with SHA-1, which every responder knows (RFC 5019).
        """
        builder = ocsp.OCSPRequestBuilder().add_certificate(leaf, self.certificate, _SHA1)
        request = builder.add_extension(x509.OCSPNonce(nonce), critical=False).build()
        return request.public_bytes(serialization.Encoding.DER)

    def is_named_by(
        self, named: ocsp.OCSPRequest | ocsp.OCSPSingleResponse, leaf: x509.Certificate
    ) -> bool:
        """Return whether a request or a response identifies this issuer of `leaf`.

        Raises:
            UnsupportedAlgorithm: `named` uses a hash that `cryptography` does not know.
        """
        builder = ocsp.OCSPRequestBuilder()
        own = builder.add_certificate(leaf, self.certificate, named.hash_algorithm).build()
        return (
            own.issuer_name_hash == named.issuer_name_hash
            and own.issuer_key_hash == named.issuer_key_hash
        )


class _RejectedError(Exception):
    """The response does not determine the status. It is never raised out of this module."""

    def __init__(self, reason: UndeterminedReason, detail: str = "") -> None:
        super().__init__(detail)
        self.status = UndeterminedStatus(reason, detail)


def verify(data: bytes, issuer: OCSPIssuer, expected: ExpectedResponse) -> CertificateStatus:
    """Return the status of one certificate by a response (DER).

    A `RevokedStatus` counts however old the response is, since a revocation is final. All other
    responses must be fresh.
    """
    if len(data) > limits.ocsp_response_bytes_max:
        return UndeterminedStatus(
            UndeterminedReason.MALFORMED,
            f"it is larger than {limits.ocsp_response_bytes_max} bytes",
        )
    try:
        return _verify(ocsp.load_der_ocsp_response(data), issuer, expected)
    except _RejectedError as rejected:
        return rejected.status
    except Exception:  # noqa: BLE001 - the library raises several kinds for malformed input
        return UndeterminedStatus(UndeterminedReason.MALFORMED)


def _verify(
    response: ocsp.OCSPResponse, issuer: OCSPIssuer, expected: ExpectedResponse
) -> CertificateStatus:
    status = response.response_status
    if status is ocsp.OCSPResponseStatus.TRY_LATER:
        raise _RejectedError(UndeterminedReason.TRY_LATER)
    if status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        raise _RejectedError(UndeterminedReason.REFUSED, f"its status is {status.name}")
    _check_signature(response, issuer, expected.now)
    single = _find(response, issuer, expected.certificate)
    if any(_is_unknown_critical(extension) for extension in response.extensions):
        raise _RejectedError(UndeterminedReason.MALFORMED, "it has an unknown critical extension")
    until = 0.0 if single.next_update_utc is None else single.next_update_utc.timestamp()
    if single.certificate_status is ocsp.OCSPCertStatus.REVOKED:
        at, reason = single.revocation_time_utc, single.revocation_reason
        return RevokedStatus(at.timestamp() if at else 0.0, reason.value if reason else "", until)
    _check_nonce(response, expected)
    _check_times(single, expected.now)
    if single.certificate_status is ocsp.OCSPCertStatus.GOOD:
        return GoodStatus(until)
    return UnknownStatus()


def _find(
    response: ocsp.OCSPResponse, issuer: OCSPIssuer, leaf: x509.Certificate
) -> ocsp.OCSPSingleResponse:
    """Return the only answer about this certificate; two could contradict each other."""
    ours = [single for single in response.responses if issuer.is_named_by(single, leaf)]
    if not ours:
        raise _RejectedError(UndeterminedReason.ISSUER)
    found = [single for single in ours if single.serial_number == leaf.serial_number]
    if not found:
        raise _RejectedError(UndeterminedReason.SERIAL)
    if len(found) > 1:
        raise _RejectedError(UndeterminedReason.MALFORMED, "two answers about this certificate")
    return found[0]


def _check_nonce(response: ocsp.OCSPResponse, expected: ExpectedResponse) -> None:
    found = [each.value for each in response.extensions if isinstance(each.value, x509.OCSPNonce)]
    if not found:
        if not expected.may_lack_nonce:
            raise _RejectedError(UndeterminedReason.NONCE, "it has none, so it could be a replay")
    elif not hmac.compare_digest(found[0].nonce, expected.nonce):
        raise _RejectedError(UndeterminedReason.NONCE)


def _check_times(single: ocsp.OCSPSingleResponse, now: float) -> None:
    """Check the validity period (RFC 6960, section 3.2).

    A response without an end would be valid for ever (RFC 5019, section 4).
    """
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


def _check_signature(response: ocsp.OCSPResponse, issuer: OCSPIssuer, now: float) -> None:
    """Check that the issuer or a delegate of the issuer signed the response."""
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
    """Yield the certificates of the responder that may sign for the issuer."""
    if _is_responder(response, issuer.certificate):
        yield issuer.certificate
    for certificate in response.certificates[: limits.chain_certificates_max]:
        if _is_responder(response, certificate) and _is_delegate(certificate, issuer, now):
            yield certificate


def _is_responder(response: ocsp.OCSPResponse, certificate: x509.Certificate) -> bool:
    if response.responder_name is not None:
        return response.responder_name == certificate.subject
    key = x509.SubjectKeyIdentifier.from_public_key(certificate.public_key())
    # Both are SHA-1 of the key's bits.
    return response.responder_key_hash == key.digest


def _is_delegate(certificate: x509.Certificate, issuer: OCSPIssuer, now: float) -> bool:
    leeway = limits.leeway_seconds
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not begin.timestamp() - leeway <= now <= end.timestamp() + leeway:
        return False
    extensions = certificate.extensions
    if any(map(_is_unknown_critical, extensions)):
        return False
    for extension in extensions:
        if isinstance(extension.value, x509.KeyUsage) and not extension.value.digital_signature:
            return False
    usages = [each.value for each in extensions if isinstance(each.value, x509.ExtendedKeyUsage)]
    # It must be explicit: `anyExtendedKeyUsage` is not enough (RFC 6960, section 4.2.2.2).
    if not any(ExtendedKeyUsageOID.OCSP_SIGNING in usage for usage in usages):
        return False
    return is_issued(certificate, issuer.certificate)


def _is_unknown_critical(extension: x509.Extension[x509.ExtensionType]) -> bool:
    return extension.critical and isinstance(extension.value, x509.UnrecognizedExtension)


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
