"""OCSP responses (RFC 6960, section 4.2), written: what is said of each question, and signed.

Decides nothing of what is said. Written by hand, because `cryptography` writes responses to one
question only.
"""

import enum
from collections.abc import Iterable
from datetime import datetime

import msgspec
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from crewgate.ca.certificates import IssuedCertificate
from crewgate.ca.ocsp.request import NONCE, CertID, key_digest
from crewgate.core.x509 import der

_BASIC = der.write(der.OBJECT_IDENTIFIER, der.identifier("1.3.6.1.5.5.7.48.1.1"))
_ECDSA_SHA256 = der.write(
    der.SEQUENCE, der.write(der.OBJECT_IDENTIFIER, der.identifier("1.2.840.10045.4.3.2"))
)
_GOOD = der.write(0x80)
_REVOKED = 0xA1
_UNKNOWN = der.write(0x82)
_BY_KEY = 0xA2
_EXTENSIONS = 0xA1
_EXPLICIT = 0xA0  # whichever optional part has number 0
_REASONS = {  # RFC 5280 §5.3.1; "unspecified" is said by leaving it out
    "keyCompromise": 1,
    "cACompromise": 2,
    "affiliationChanged": 3,
    "superseded": 4,
    "cessationOfOperation": 5,
    "certificateHold": 6,
    "privilegeWithdrawn": 9,
    "aACompromise": 10,
}


class ResponseStatus(enum.IntEnum):
    """Why there is no answer; these responses are not signed (RFC 6960, section 4.2.1)."""

    MALFORMED = 1
    INTERNAL = 2
    TRY_LATER = 3
    UNAUTHORIZED = 6


class SingleResponse(msgspec.Struct, frozen=True):
    """What is said of a question: unknown, or issued and good until it was `revoked` (UTC)."""

    question: CertID
    is_known: bool
    revoked: datetime | None = None
    reason: str = ""


class OCSPTimes(msgspec.Struct, frozen=True):
    """Since when and until when an answer is good; UTC."""

    now: datetime
    until: datetime


def failure(why: ResponseStatus) -> bytes:
    """The response that says why there is no answer."""
    return der.write(der.SEQUENCE, der.write_integer(why, der.ENUMERATED))


def answer(
    findings: Iterable[SingleResponse],
    times: OCSPTimes,
    signer: IssuedCertificate,
    nonce: bytes | None,
) -> bytes:
    """A signed response with the signer's certificate."""
    parts = [
        der.write(_BY_KEY, der.write(der.OCTET_STRING, key_digest(signer.key.public_key()))),
        _time(times.now),
        der.write(der.SEQUENCE, *(_single(finding, times) for finding in findings)),
    ]
    if nonce is not None:
        parts.append(der.write(_EXTENSIONS, der.write(der.SEQUENCE, _nonce(nonce))))
    data = der.write(der.SEQUENCE, *parts)
    certificate = signer.certificate.public_bytes(serialization.Encoding.DER)
    basic = der.write(
        der.SEQUENCE,
        data,
        _ECDSA_SHA256,
        der.write(der.BIT_STRING, b"\0", signer.key.sign(data, ec.ECDSA(hashes.SHA256()))),
        der.write(_EXPLICIT, der.write(der.SEQUENCE, certificate)),
    )
    body = der.write(der.SEQUENCE, _BASIC, der.write(der.OCTET_STRING, basic))
    return der.write(der.SEQUENCE, der.write_integer(0, der.ENUMERATED), der.write(_EXPLICIT, body))


def _single(finding: SingleResponse, times: OCSPTimes) -> bytes:
    return der.write(
        der.SEQUENCE,
        finding.question.raw,
        _status(finding),
        _time(times.now),
        der.write(_EXPLICIT, _time(times.until)),
    )


def _status(finding: SingleResponse) -> bytes:
    if not finding.is_known:
        return _UNKNOWN
    if finding.revoked is None:
        return _GOOD
    code = _REASONS.get(finding.reason)
    reason = [] if code is None else [der.write(_EXPLICIT, der.write_integer(code, der.ENUMERATED))]
    return der.write(_REVOKED, _time(finding.revoked), *reason)


def _nonce(nonce: bytes) -> bytes:
    value = der.write(der.OCTET_STRING, nonce)
    return der.write(
        der.SEQUENCE, der.write(der.OBJECT_IDENTIFIER, NONCE), der.write(der.OCTET_STRING, value)
    )


def _time(moment: datetime) -> bytes:
    """GeneralizedTime, whole seconds (RFC 5280, section 4.1.2.5.2)."""
    return der.write(der.GENERALIZED_TIME, f"{moment:%Y%m%d%H%M%S}Z".encode())
