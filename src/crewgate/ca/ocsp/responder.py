"""The OCSP responder (RFC 6960): answers from the CA's register, signed with a delegate's key.

It turns request bytes into response bytes; HTTP is elsewhere. Only this process has the delegate's
key, and it renews the delegate's certificate long before that ends. So the issuing key signs a few
times a month, not for each request. For a certificate that is not in the register the answer is
`unknown`, whatever issuer the request names. It blocks for a query of SQLite; a response takes a
tenth of a millisecond.

A request asks about one certificate (RFC 5019, section 2.1.1). The responder answers every
requestor in the same way: it ignores the requestor's name, the signature and the extensions of the
single request.
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
from crewgate.ca.certificates import CertificateAndKey, make_responder
from crewgate.ca.crl import REASONS
from crewgate.ca.ocsp.verify import OCSPIssuer
from crewgate.core.x509.certificate import serial_text
from crewgate.errors import CAError

_log = logging.getLogger(__name__)


def failure(status: ocsp.OCSPResponseStatus) -> bytes:
    """Return the unsigned error response (DER) of a status (RFC 6960, section 2.3)."""
    response = ocsp.OCSPResponseBuilder.build_unsuccessful(status)
    return response.public_bytes(serialization.Encoding.DER)


class Responder:
    """Answers for the issuing CA `issuing`, whose certificates are in `register`.

    Use it in one thread at a time. Its HTTP server must send `application/ocsp-response` with
    status 200 for each response, also for errors (RFC 6960, appendix A.2), and forbid caching.
    """

    def __init__(self, issuing: CertificateAndKey, register: CertificateDB) -> None:
        self._issuing = issuing
        self._issuer = OCSPIssuer(issuing.certificate)
        self._register = register
        self._delegate: CertificateAndKey | None = None

    def answer(self, request: bytes, now: datetime) -> bytes:
        """Return the response to a request, both DER. `now` has a time zone. Never raises.

        The response is `malformedRequest` for an unreadable request, or one about several
        certificates; `unauthorized` if the request uses an unknown hash; and `internalError`,
        with a log line, if the register fails.
        """
        try:
            query, nonce = _read(request)
        except UnsupportedAlgorithm:
            return failure(ocsp.OCSPResponseStatus.UNAUTHORIZED)
        except (ValueError, NotImplementedError, x509.DuplicateExtension):
            return failure(ocsp.OCSPResponseStatus.MALFORMED_REQUEST)
        try:
            return self._answer(query, nonce, now.astimezone(UTC).replace(microsecond=0))
        except CAError as error:
            _log.warning("cannot answer an OCSP request: %s", error)
            return failure(ocsp.OCSPResponseStatus.INTERNAL_ERROR)

    def answer_path(self, tail: str, now: datetime) -> bytes:
        """Return the response to a GET whose path ends with `tail`, still percent-encoded.

        The tail is the request in base64 (RFC 6960, appendix A.1).
        """
        # Room for base64 (4/3) of which each character is percent-encoded (3).
        if len(tail) > limits.ocsp_request_bytes_max * 4:
            return failure(ocsp.OCSPResponseStatus.MALFORMED_REQUEST)
        try:
            request = base64.b64decode(unquote_to_bytes(tail), validate=True)
        except ValueError:
            return failure(ocsp.OCSPResponseStatus.MALFORMED_REQUEST)
        return self.answer(request, now)

    def _answer(
        self, query: ocsp.OCSPRequest, nonce: x509.OCSPNonce | None, now: datetime
    ) -> bytes:
        delegate = self._signer(now)
        until = now + timedelta(seconds=limits.ocsp_life_seconds)
        status, revoked, reason = self._find(query, delegate.certificate)
        builder = ocsp.OCSPResponseBuilder().add_response_by_hash(
            issuer_name_hash=query.issuer_name_hash,
            issuer_key_hash=query.issuer_key_hash,
            serial_number=query.serial_number,
            algorithm=query.hash_algorithm,
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

    def _signer(self, now: datetime) -> CertificateAndKey:
        """Return the delegate; replace it in the second half of its life. Raises CAError."""
        delegate = self._delegate
        half = timedelta(seconds=limits.ocsp_responder_seconds / 2)
        ends = self._issuing.certificate.not_valid_after_utc
        if ends <= now:
            raise CAError("the issuing CA's own certificate has expired; make a new CA")
        if delegate is not None:
            certificate = delegate.certificate
            left = certificate.not_valid_after_utc - now
            is_last = certificate.not_valid_after_utc == ends and left > timedelta()
            if certificate.not_valid_before_utc <= now and (left > half or is_last):
                return delegate
        self._delegate = make_responder(self._issuing, now)
        return self._delegate

    def _find(
        self, query: ocsp.OCSPRequest, delegate: x509.Certificate
    ) -> tuple[ocsp.OCSPCertStatus, datetime | None, x509.ReasonFlags | None]:
        """Return the status in the register, with time and reason of a revocation.

        A serial of another issuer is unknown without a query.
        """
        entry = None
        if self._issuer.is_named_by(query, delegate):
            entry = self._register.find(serial_text(query.serial_number))
        if entry is None:
            return ocsp.OCSPCertStatus.UNKNOWN, None, None
        if entry.revoked is None:
            return ocsp.OCSPCertStatus.GOOD, None, None
        reason = REASONS.get(entry.reason)
        # RFC 5280, section 5.3.1: leave out the reason instead of writing `unspecified`.
        if reason is x509.ReasonFlags.unspecified:
            reason = None
        return ocsp.OCSPCertStatus.REVOKED, datetime.fromtimestamp(entry.revoked, UTC), reason


def _read(data: bytes) -> tuple[ocsp.OCSPRequest, x509.OCSPNonce | None]:
    """Return the parsed request, and the nonce that the response must repeat.

    Raises:
        UnsupportedAlgorithm: It uses a hash that `cryptography` does not know.
        NotImplementedError: It does not ask about exactly one certificate.
        DuplicateExtension, ValueError: It is malformed, or exceeds a limit.
    """
    if len(data) > limits.ocsp_request_bytes_max:
        raise ValueError(f"it is larger than {limits.ocsp_request_bytes_max} bytes")
    request = ocsp.load_der_ocsp_request(data)
    size = request.hash_algorithm.digest_size
    if not len(request.issuer_name_hash) == len(request.issuer_key_hash) == size:
        raise ValueError("its digests do not have the size of their hash")
    if request.serial_number < 0:
        raise ValueError("its serial number is negative")
    nonce = None
    for extension in request.extensions:
        if isinstance(extension.value, x509.OCSPNonce):
            nonce = extension.value
        elif extension.critical:
            raise ValueError("it has an unknown critical extension (RFC 6960, section 4.4)")
    if nonce is not None and not 0 < len(nonce.nonce) <= limits.ocsp_nonce_bytes_max:
        raise ValueError(f"its nonce has {len(nonce.nonce)} bytes")
    return request, nonce
