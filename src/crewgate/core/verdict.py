"""The verdicts of the gate: `Denial` is here; `Permit`, which has a reservation, is native."""

import enum

import msgspec

from crewgate.core.policy.call_limits import LimitReached
from crewgate.core.problem_types import ALLOWANCE_EXHAUSTED, PROBLEM_TYPES, ProblemType
from crewgate.core.reasons import Reason
from crewgate.core.rules.rule import StepFinding
from crewgate.core.tokens.grant import Grant

# The reason of a refusal by the status of a draw of credit (`ipc.attach_messages`), if the draw did
# not open the branch. The gate itself sees only that credit is missing, which is
# BUDGET_UNAVAILABLE. Observe mode passes a call that lacks credit, but no call with these reasons.
DRAW_REASONS = {
    "full": Reason.TABLE_FULL,
    "share": Reason.TABLE_FULL,
    "held": Reason.ORCHESTRATOR_HELD,
    "closed": Reason.BRANCH_REVOKED,
    "mismatch": Reason.BINDING_MISMATCH,
}
# With these reasons no call of the token is possible: another draw does not help.
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
        left_seconds: The seconds from the refusal to `ends_at`.
    """

    length_seconds: int
    ends_at: int
    left_seconds: int


class Denial(msgspec.Struct, frozen=True):
    """A refusal and its evidence.

    Attributes:
        reason: Why the call was refused. CREDITS_EXHAUSTED with a `window` means that the hour or
            the day of the crew is spent. Over HTTP, that is the problem `allowance-exhausted`.
        grant: The grant of the token; None unless the token has a good signature.
        retry: Whether the same call may succeed after a moment. False for a spent hour or day.
        level: The account that cannot pay, if the reason is CREDITS_EXHAUSTED: the UUID text of a
            branch, or the name of the crew. Empty for every other reason.
        used_micro: Micro-credits of the account `level` that are settled, burned or reserved.
        quota_micro: Micro-credits that the account `level` may use in all, or in the hour or day.
        need_micro: Micro-credits that the call costs at most. 0 if `level` is empty.
        window_number: The ledger's number of the spent hour or day of the crew, and 0 for every
            other denial. Use `window` instead.
        window: The spent hour or day of the crew, after which the same call may succeed. None for
            every other denial, and for a call that costs more than a whole hour or day allows.
        finding: The step of a rule on branches, if the reason is LOOP_DETECTED. None for every
            other reason.
        limit: The limit on calls that has no room now, if the reason is RATE_LIMITED or
            TOO_MANY_CALLS. None for every other denial.
        call_digest: The digest of the call, if a rule on branches refused it; 0 for every other
            reason.
        nonce: The nonce for the next DPoP proof, if the reason is USE_NONCE (RFC 9449, section 9).
            It is good on this machine, for a minute. Empty for every other reason.
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
    nonce: bytes = b""
    finding: StepFinding | None = None
    limit: LimitReached | None = None
    call_digest: int = 0

    @property
    def left_micro(self) -> int:
        """Micro-credits that the account `level` has not used: fewer than the call needs."""
        return max(0, self.quota_micro - self.used_micro)

    def __repr__(self) -> str:
        branch = f" branch={self.grant.branch}" if self.grant is not None else ""
        account = (
            f" level={self.level} used_micro={self.used_micro} quota_micro={self.quota_micro} "
            f"need_micro={self.need_micro}"
            if self.level
            else ""
        )
        window = (
            f" window={self.window.length_seconds}s left_seconds={self.window.left_seconds}"
            if self.window is not None
            else ""
        )
        limit = (
            f" limit={self.limit.name} left_seconds={self.limit.left_seconds}"
            if self.limit is not None
            else ""
        )
        retry = " retry" if self.retry else ""
        return f"<Denial {self.reason.value}{branch}{account}{window}{limit}{retry}>"

    def __bool__(self) -> bool:
        raise TypeError("a verdict has no truth value; use isinstance(verdict, Permit)")


def problem_type(denial: Denial) -> ProblemType:
    """Return the problem that the client is sent and the audit records."""
    return ALLOWANCE_EXHAUSTED if denial.window is not None else PROBLEM_TYPES[denial.reason]
