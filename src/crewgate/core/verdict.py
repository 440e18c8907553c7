"""What the gate answers: a `Permit` (native: it holds a reservation) or a `Denial`; no bare bool.

The order of `Reason` is the order of the checks, and its values are the slugs of the problem
types that a refused client sees (RFC 9457).
"""

import enum

import msgspec

from crewgate.core.tokens.grant import Grant


class Reason(enum.Enum):
    """Why a call was refused; the value is the slug of the problem type."""

    INVALID_REQUEST = "invalid-request"
    MISSING_TOKEN = "missing-token"
    INVALID_TOKEN = "invalid-token"
    TOKEN_EXPIRED = "token-expired"
    TOKEN_NOT_YET_VALID = "token-not-yet-valid"
    TOKEN_LIFETIME = "token-lifetime"
    TOKEN_CEILING = "token-ceiling"
    WRONG_AUDIENCE = "wrong-audience"
    WRONG_ISSUER = "wrong-issuer"
    BRANCH_REVOKED = "branch-revoked"
    BINDING_MISMATCH = "binding-mismatch"
    UNKNOWN_TOOL = "unknown-tool"
    TOOL_NOT_ALLOWED = "tool-not-allowed"
    CREDITS_EXHAUSTED = "credits-exhausted"
    BUDGET_UNAVAILABLE = "budget-unavailable"
    TABLE_FULL = "table-full"  # no room for another branch, of anybody or of its crew
    ORCHESTRATOR_HELD = "orchestrator-held"  # throttled or quarantined: no new branches of it
    REVOCATION_UNAVAILABLE = "revocation-unavailable"
    UNPRICED = "unpriced"  # after a verdict: what the call costs cannot be told from it,
    UPGRADE = "upgrade-unsupported"  # or it asks for another protocol


class PeerReason(enum.Enum):
    """Why a connection is refused before a byte of HTTP is read; the value is the audit's word."""

    HANDSHAKE = "handshake-failed"  # nothing of it is about a certificate
    NO_CERTIFICATE = "no-certificate"
    UNKNOWN_AUTHORITY = "unknown-authority"
    EXPIRED = "certificate-expired"
    NOT_YET_VALID = "certificate-not-yet-valid"
    REVOKED = "certificate-revoked"
    STALE = "revocation-unavailable"  # nobody can say now whether it is revoked
    NO_CLIENT_USAGE = "no-client-usage"
    NO_IDENTITY = "no-identity"
    ROLE = "role-not-admitted"
    CREW = "crew-not-admitted"
    UNKNOWN = "certificate-unknown"  # its issuer says that it never issued it
    INVALID = "certificate-invalid"


class SpentWindow(msgspec.Struct, frozen=True, gc=False):
    """A window of a crew's allowance that is spent.

    Its length, its end since the epoch, and how far that was ahead when the call was refused; all
    in seconds.
    """

    seconds: int
    ends: int
    left: int


class Denial(msgspec.Struct, frozen=True):
    """A refusal and its evidence.

    `grant` is known only after a good signature. `retry` says that the same call may succeed
    shortly. For credits-exhausted, `level` names the account that cannot pay (a branch's UUID text,
    or the crew's name), with `used` of `quota` in micro-credits, and `need` is what the call would
    have reserved, 0 where that is not known; `spent` is the crew's hour or day that is, as the
    ledger numbers it (`core.ledger.window_of`), and `window` says when that ends. `would` denials
    never leave the gate.
    """

    reason: Reason
    grant: Grant | None = None
    retry: bool = False
    level: str = ""
    used: int = 0
    quota: int = 0
    need: int = 0
    spent: int = 0
    window: SpentWindow | None = None

    @property
    def left(self) -> int:
        """Micro-credits at `level` that are not used; less than the call needs."""
        return max(0, self.quota - self.used)

    def __repr__(self) -> str:
        branch = f" branch={self.grant.branch}" if self.grant is not None else ""
        empty = f" {self.level} used {self.used} of {self.quota}" if self.level else ""
        return f"<Denial {self.reason.value}{branch}{empty}{' retry' if self.retry else ''}>"

    def __bool__(self) -> bool:
        raise TypeError("a verdict is not a truth value: test isinstance(verdict, Permit)")
