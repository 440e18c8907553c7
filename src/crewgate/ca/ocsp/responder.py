"""The OCSP responder (RFC 6960): answers from the register, signed by a delegate of the issuer.

Knows no HTTP: bytes in, bytes out. The delegate's key lives in this process alone and its
certificate is made anew long before it ends, so that the issuing key signs a few times a month and
not at every question. Of a certificate that the register does not have it says `unknown`, whoever
is said to have issued it. Blocks, for a look into SQLite; a response takes a tenth of a
millisecond.
"""

import logging
from datetime import UTC, datetime, timedelta

from crewgate import limits
from crewgate.ca.certificate_db import CertificateDB
from crewgate.ca.certificates import IssuedCertificate, make_responder
from crewgate.ca.ocsp.request import CertID, OCSPRequest, issuer_names, read_path, read_request
from crewgate.ca.ocsp.response import OCSPTimes, ResponseStatus, SingleResponse, answer, failure
from crewgate.core.x509.certificate import serial_text
from crewgate.errors import AuthorityError

_log = logging.getLogger(__name__)


class Responder:
    """Speaks for the issuing CA `issuing`, whose certificates are in `register`.

    Use it in one thread at a time. Whoever serves it sends `application/ocsp-response` with status
    200, whatever the response says (RFC 6960, appendix A.2), and lets no cache keep it.
    """

    def __init__(self, issuing: IssuedCertificate, register: CertificateDB) -> None:
        self._issuing = issuing
        self._register = register
        self._delegate: IssuedCertificate | None = None
        self._names: dict[str, tuple[bytes, bytes]] = {}

    def __repr__(self) -> str:
        return f"<Responder for {self._issuing.certificate.subject.rfc4514_string()}>"

    def answer(self, request: bytes, now: datetime) -> bytes:
        """The response to a request, both DER; `now` with a time zone. Raises nothing for bad ones.

        What cannot be read is answered `malformedRequest`; a question in terms of a hash that is
        not known here `unauthorized`; a database that fails `internalError`, and it is logged.
        """
        try:
            asked = read_request(request)
        except ValueError:
            return failure(ResponseStatus.MALFORMED)
        if not all(question.hash_name for question in asked.questions):
            return failure(ResponseStatus.UNAUTHORIZED)
        try:
            return self._answer(asked, now.astimezone(UTC).replace(microsecond=0))
        except AuthorityError as error:
            _log.warning("OCSP cannot be answered: %s", error)
            return failure(ResponseStatus.INTERNAL)

    def answer_path(self, tail: str, now: datetime) -> bytes:
        """The response to a GET whose path goes on with `tail`, still percent-encoded."""
        try:
            request = read_path(tail)
        except ValueError:
            return failure(ResponseStatus.MALFORMED)
        return self.answer(request, now)

    def _answer(self, asked: OCSPRequest, now: datetime) -> bytes:
        delegate = self._signer(now)
        until = now + timedelta(seconds=limits.ocsp_life_seconds)
        times = OCSPTimes(now, min(until, delegate.certificate.not_valid_after_utc))
        findings = [self._find(question) for question in asked.questions]
        return answer(findings, times, delegate, asked.nonce)

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

    def _find(self, question: CertID) -> SingleResponse:
        """What the register says; a foreign issuer's serial is not even looked up."""
        ours = self._named(question.hash_name)
        if (question.issuer_name_hash, question.issuer_key_hash) != ours:
            return SingleResponse(question, is_known=False)
        entry = self._register.find(serial_text(question.serial))
        if entry is None:
            return SingleResponse(question, is_known=False)
        if entry.revoked is None:
            return SingleResponse(question, is_known=True)
        revoked = datetime.fromtimestamp(entry.revoked, UTC)
        return SingleResponse(question, is_known=True, revoked=revoked, reason=entry.reason)

    def _named(self, hash_name: str) -> tuple[bytes, bytes]:
        """The issuer as a CertID names it, in terms of one hash."""
        named = self._names.get(hash_name)
        if named is None:
            named = issuer_names(self._issuing.certificate, hash_name)
            self._names[hash_name] = named
        return named
