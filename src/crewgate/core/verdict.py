"""The verdicts of the gate: `Denial` is here; `Permit`, which has a reservation, is native."""

import enum

import msgspec

from crewgate.core.problem_types import (
    ALLOWANCE_EXHAUSTED,
    PROBLEM_TYPES,
    ProblemType,
    Reason,
)
from crewgate.core.tokens.grant import Grant

# The reason of a refusal by the status of a draw of credit (`ipc.attach_messages`). The gate itself
# sees only that credit is missing, which is BUDGET_UNAVAILABLE.
DRAW_REASONS = {
    "full": Reason.TABLE_FULL,
    "share": Reason.TABLE_FULL,
    "held": Reason.ORCHESTRATOR_HELD,
    "closed": Reason.BRANCH_REVOKED,
    "mismatch": Reason.BINDING_MISMATCH,
}
# With these reasons no call of the token is possible: neither another draw nor observe mode helps.
FINAL_REASONS = frozenset({Reason.BRANCH_REVOKED, Reason.BINDING_MISMATCH})


class ConnectionRefusalReason(enum.Enum):
    """Why a connection is refused before a byte of HTTP is read.

    The value is the name in the audit log. `HANDSHAKE`: it failed for a reason other than the
    certificate. `STALE`: it is unknown now whether the certificate is revoked. `UNKNOWN`: the
    issuer says that it never issued the certificate.
    """

    HANDSHAKE = "handshake-failed"
    NO_CERTIFICATE = "no-certificate"
    UNKNOWN_AUTHORITY = "unknown-authority"
    EXPIRED = "certificate-expired"
    NOT_YET_VALID = "certificate-not-yet-valid"
    REVOKED = "certificate-revoked"
    STALE = "revocation-unavailable"
    NO_CLIENT_USAGE = "no-client-usage"
    NO_IDENTITY = "no-identity"
    ROLE = "role-not-admitted"
    CREW = "crew-not-admitted"
    UNKNOWN = "certificate-unknown"
    INVALID = "certificate-invalid"


class SpentWindow(msgspec.Struct, frozen=True, gc=False):
    """The hour or the day whose allowance a crew has spent.

    Attributes:
        length_seconds: 3,600 or 86,400.
        ends_at: When the next allowance begins, in seconds since the epoch.
        left_seconds: The seconds from the refusal to that time.
    """

    length_seconds: int
    ends_at: int
    left_seconds: int


class Denial(msgspec.Struct, frozen=True):
    """A refusal and its evidence.

    Attributes:
        reason: Why the call was refused.
        grant: The grant of the token; None unless the token has a good signature.
        retry: Whether the same call may succeed shortly.
        level: For CREDITS_EXHAUSTED, the account that cannot pay: a branch's UUID text, or the
            crew's name. Empty for every other reason.
        used_micro: Micro-credits of that account that are settled, burned or reserved.
        quota_micro: The account's quota, or its allowance of the window, in micro-credits.
        need_micro: Micro-credits that the call costs at most. 0 if `level` is empty.
        window_number: The ledger's number for the hour or day whose allowance the crew has spent; 0
            if the call lacks no allowance. Programs use `window`.
        window: The same hour or day with its end; None if the call lacks no allowance, or needs
            more than an hour or a day ever has.
    """

    reason: Reason
    grant: Grant | None = None
    retry: bool = False
    level: str = ""
    used_micro: int = 0
    quota_micro: int = 0
    need_micro: int = 0
    window_number: int = 0
    window: SpentWindow | None = None

    @property
    def left_micro(self) -> int:
        """Micro-credits of the account at `level` that are not used: less than the call needs."""
        return max(0, self.quota_micro - self.used_micro)

    def __repr__(self) -> str:
        branch = f" branch={self.grant.branch}" if self.grant is not None else ""
        empty = f" {self.level} used {self.used_micro} of {self.quota_micro}" if self.level else ""
        return f"<Denial {self.reason.value}{branch}{empty}{' retry' if self.retry else ''}>"

    def __bool__(self) -> bool:
        raise TypeError("a verdict has no truth value; use isinstance(verdict, Permit)")


def problem_type(denial: Denial) -> ProblemType:
    """Return the problem that the client is sent and the audit records."""
    return ALLOWANCE_EXHAUSTED if denial.window is not None else PROBLEM_TYPES[denial.reason]
