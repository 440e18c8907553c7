"""What a certificate's issuer says of it now (OCSP, RFC 6960), or why nobody can say.

A status is one of four nouns and never a truth value: whoever asks must look which. Knows no
protocol; times are seconds since the epoch.
"""

import enum

import msgspec


class UndeterminedReason(enum.Enum):
    """Why an answer settles nothing; the value is the audit's word."""

    UNREACHABLE = "responder-unreachable"
    TIMEOUT = "responder-timeout"
    TRY_LATER = "try-later"
    REFUSED = "responder-refused"  # any other error response
    MALFORMED = "response-malformed"
    ISSUER = "wrong-issuer"
    SERIAL = "wrong-serial"
    SIGNER = "unauthorized-signer"  # neither the issuer nor its delegate
    SIGNATURE = "bad-signature"
    NONCE = "bad-nonce"
    STALE = "response-stale"
    FUTURE = "response-of-the-future"
    NO_NEXT_UPDATE = "no-next-update"  # it would be good for ever
    OTHER_ISSUER = "certificate-of-another-issuer"  # whose responder nobody has named


class _Status(msgspec.Struct, frozen=True):
    def __bool__(self) -> bool:
        raise TypeError("a certificate's status is not a truth value: test isinstance")


class GoodStatus(_Status, frozen=True):
    """Not revoked as of now; the answer is good until then."""

    until: float


class RevokedStatus(_Status, frozen=True):
    """Revoked at that time, for a reason as RFC 5280 names it, empty if none is given."""

    at: float
    reason: str
    until: float


class UnknownStatus(_Status, frozen=True):
    """Its issuer says that it never issued it."""


class UndeterminedStatus(_Status, frozen=True):
    """Nobody can say now; `detail` is for an operator and names no certificate."""

    flaw: UndeterminedReason
    detail: str = ""


CertificateStatus = GoodStatus | RevokedStatus | UnknownStatus | UndeterminedStatus
