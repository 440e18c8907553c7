"""The status of a certificate by OCSP (RFC 6960), or why it is undetermined.

A status is one of four types and has no truth value, so that a caller must handle each type. Times
are seconds since the epoch.
"""

import enum

import msgspec


class UndeterminedReason(enum.Enum):
    """Why a response does not determine the status; the value is the name in the audit log.

    `REFUSED` is any other error response. `SIGNER`: neither the issuer nor its delegate has signed.
    `NO_NEXT_UPDATE`: the response would be valid for ever. `OTHER_ISSUER`: no responder is
    configured for the certificate's issuer.
    """

    UNREACHABLE = "responder-unreachable"
    TIMEOUT = "responder-timeout"
    TRY_LATER = "try-later"
    REFUSED = "responder-refused"
    MALFORMED = "response-malformed"
    ISSUER = "wrong-issuer"
    SERIAL = "wrong-serial"
    SIGNER = "unauthorized-signer"
    SIGNATURE = "bad-signature"
    NONCE = "bad-nonce"
    STALE = "response-stale"
    FUTURE = "response-of-the-future"
    NO_NEXT_UPDATE = "no-next-update"
    OTHER_ISSUER = "certificate-of-another-issuer"


class _Status(msgspec.Struct, frozen=True):
    def __bool__(self) -> bool:
        raise TypeError("a certificate's status has no truth value; use isinstance")


class GoodStatus(_Status, frozen=True):
    """Not revoked now; the response is valid until the time `until`."""

    until: float


class RevokedStatus(_Status, frozen=True):
    """Revoked at the time `at`, for a reason as RFC 5280 names it, or empty."""

    at: float
    reason: str
    until: float


class UnknownStatus(_Status, frozen=True):
    """The issuer says that it has not issued the certificate."""


class UndeterminedStatus(_Status, frozen=True):
    """The status is not known now; `detail` is for an operator, and names no certificate."""

    flaw: UndeterminedReason
    detail: str = ""


CertificateStatus = GoodStatus | RevokedStatus | UnknownStatus | UndeterminedStatus
