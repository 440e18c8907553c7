"""The OCSP responder (RFC 6960): answers from the register, signed by a delegate of the issuer.

Knows no HTTP: bytes in, bytes out. The delegate's key lives in this process alone and its
certificate is made anew long before it ends, so that the issuing key signs a few times a month and
not at every question. Of a certificate that the register does not have it says `unknown`, whoever
is said to have issued it. Blocks, for a look into SQLite; a response takes a tenth of a
millisecond.

A request asks about one certificate (RFC 5019, section 2.1.1). The responder does not read who
asks, a request's signature, or extensions of the single question: it answers everybody alike.
"""

import base64
import logging
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote_to_bytes

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

from crewgate import limits
from crewgate.ca.certificate_db import CertificateDB
from crewgate.ca.certificates import IssuedCertificate, make_responder
from crewgate.ca.crl_file import REASONS
from crewgate.ca.ocsp.verify import OCSPIssuer
from crewgate.core.x509.certificate import serial_text
from crewgate.errors import AuthorityError

_log = logging.getLogger(__name__)


def failure(status: ocsp.OCSPResponseStatus) -> bytes:
    """DER of the unsigned response that says why there is no answer (RFC 6960, section 2.3)."""
    response = ocsp.OCSPResponseBuilder.build_unsuccessful(status)
    return response.public_bytes(serialization.Encoding.DER)


class Responder:
    """Speaks for the issuing CA `issuing`, whose certificates are in `register`.

    Use it in one thread at a time. Whoever serves it sends `application/ocsp-response` with status
    200, whatever the response says (RFC 6960, appendix A.2), and lets no cache keep it.
    """

    def __init__(self, issuing: IssuedCertificate, register: CertificateDB) -> None:
        self._issuing = issuing
        self._issuer = OCSPIssuer(issuing.certificate)
        self._register = register
        self._delegate: IssuedCertificate | None = None

    def __repr__(self) -> str:
        return f"<Responder for {self._issuing.certificate.subject.rfc4514_string()}>"

    def answer(self, request: bytes, now: datetime) -> bytes:
        """The response to a request, both DER; `now` with a time zone. Raises nothing for bad ones.

        A request that cannot be read, or asks about several certificates, is answered
        `malformedRequest`; a question in terms of a hash that is not known here `unauthorized`; a
        database that fails `internalError`, and it is logged.
        """
        try:
            asked, nonce = _read(request)
        except UnsupportedAlgorithm:
            return failure(ocsp.OCSPResponseStatus.UNAUTHORIZED)
        except (ValueError, NotImplementedError, x509.DuplicateExtension):
            return failure(ocsp.OCSPResponseStatus.MALFORMED_REQUEST)
        try:
            return self._answer(asked, nonce, now.astimezone(UTC).replace(microsecond=0))
        except AuthorityError as error:
            _log.warning("OCSP cannot be answered: %s", error)
            return failure(ocsp.OCSPResponseStatus.INTERNAL_ERROR)

    def answer_path(self, tail: str, now: datetime) -> bytes:
        """The response to a GET whose path goes on with `tail`, still percent-encoded.

        The tail is a request's base64 (RFC 6960, appendix A.1).
        """
        if len(tail) > limits.ocsp_request_bytes_max * 4:  # base64, and every third byte encoded
            return failure(ocsp.OCSPResponseStatus.MALFORMED_REQUEST)
        try:
            request = base64.b64decode(unquote_to_bytes(tail), validate=True)
        except ValueError:
            return failure(ocsp.OCSPResponseStatus.MALFORMED_REQUEST)
        return self.answer(request, now)

    def _answer(
        self, asked: ocsp.OCSPRequest, nonce: x509.OCSPNonce | None, now: datetime
    ) -> bytes:
        delegate = self._signer(now)
        until = now + timedelta(seconds=limits.ocsp_life_seconds)
        status, revoked, reason = self._find(asked, delegate.certificate)
        builder = ocsp.OCSPResponseBuilder().add_response_by_hash(
            issuer_name_hash=asked.issuer_name_hash,
            issuer_key_hash=asked.issuer_key_hash,
            serial_number=asked.serial_number,
            algorithm=asked.hash_algorithm,
            cert_status=status,
            this_update=now,
            next_update=min(until, delegate.certificate.not_valid_after_utc),
            revocation_time=revoked,
            revocation_reason=reason,
        )
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, delegate.certificate)
        builder = builder.certificates([delegate.certificate])
        if nonce is not None:
            builder = builder.add_extension(nonce, critical=False)
        response = builder.sign(delegate.key, hashes.SHA256())
        return response.public_bytes(serialization.Encoding.DER)

    def _signer(self, now: datetime) -> IssuedCertificate:
        """The delegate, made anew when half of its life is over; AuthorityError."""
        delegate = self._delegate
        half = timedelta(seconds=limits.ocsp_responder_seconds / 2)
        ends = self._issuing.certificate.not_valid_after_utc
        if ends <= now:
            raise AuthorityError("the issuing CA's own certificate has ended; make a new CA")
        if delegate is not None:
            certificate = delegate.certificate
            left = certificate.not_valid_after_utc - now
            is_last = certificate.not_valid_after_utc == ends and left > timedelta()
            if certificate.not_valid_before_utc <= now and (left > half or is_last):
                return delegate
        self._delegate = make_responder(self._issuing, now)
        return self._delegate

    def _find(
        self, asked: ocsp.OCSPRequest, delegate: x509.Certificate
    ) -> tuple[ocsp.OCSPCertStatus, datetime | None, x509.ReasonFlags | None]:
        """What the register says, with time and reason of a revocation.

        The register is not asked about a serial of another issuer.
        """
        entry = None
        if self._issuer.is_named_by(asked, delegate):
            entry = self._register.find(serial_text(asked.serial_number))
        if entry is None:
            return ocsp.OCSPCertStatus.UNKNOWN, None, None
        if entry.revoked is None:
            return ocsp.OCSPCertStatus.GOOD, None, None
        reason = REASONS.get(entry.reason)
        if reason is x509.ReasonFlags.unspecified:  # is said by leaving it out (RFC 5280 §5.3.1)
            reason = None
        return ocsp.OCSPCertStatus.REVOKED, datetime.fromtimestamp(entry.revoked, UTC), reason


def _read(data: bytes) -> tuple[ocsp.OCSPRequest, x509.OCSPNonce | None]:
    """The request and the nonce that the response repeats.

    Raises:
        UnsupportedAlgorithm: The question is in terms of a hash that `cryptography` does not know.
        NotImplementedError: There is not exactly one question.
        DuplicateExtension, ValueError: It is no request, or over a bound.
    """
    if len(data) > limits.ocsp_request_bytes_max:
        raise ValueError(f"an OCSP request over {limits.ocsp_request_bytes_max} bytes")
    request = ocsp.load_der_ocsp_request(data)
    size = request.hash_algorithm.digest_size
    if not len(request.issuer_name_hash) == len(request.issuer_key_hash) == size:
        raise ValueError("digests of another size than their hash has")
    if request.serial_number < 0:
        raise ValueError("a negative serial number")
    nonce = None
    for extension in request.extensions:
        if isinstance(extension.value, x509.OCSPNonce):
            nonce = extension.value
        elif extension.critical:
            raise ValueError("a critical extension that is not understood (RFC 6960 §4.4)")
    if nonce is not None and not 0 < len(nonce.nonce) <= limits.ocsp_nonce_bytes_max:
        raise ValueError(f"a nonce of {len(nonce.nonce)} bytes")
    return request, nonce
