"""The gate's answer: a `Permit` (native: it holds a reservation) or a `Denial`; no bare bool."""

import enum

import msgspec

from crewgate.core.problem_types import Reason
from crewgate.core.tokens.grant import Grant

# What a draw of credit finds out about its branch, by its status (`ipc.attach_messages`). The gate
# knows only that credit is missing, and says BUDGET_UNAVAILABLE.
DRAW_REASONS = {
    "full": Reason.TABLE_FULL,
    "share": Reason.TABLE_FULL,
    "held": Reason.ORCHESTRATOR_HELD,
    "closed": Reason.BRANCH_REVOKED,
    "mismatch": Reason.BINDING_MISMATCH,
}
# The token is not good for any call: neither another draw nor observe mode changes that.
FINAL_REASONS = frozenset({Reason.BRANCH_REVOKED, Reason.BINDING_MISMATCH})


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
    """The hour or the day whose credits a crew has spent.

    Attributes:
        length_seconds: 3,600 or 86,400.
        ends_at: When the credits begin anew, in seconds since the epoch.
        left_seconds: From the refusal to that moment.
    """

    length_seconds: int
    ends_at: int
    left_seconds: int


class Denial(msgspec.Struct, frozen=True):
    """A refusal and its evidence.

    Attributes:
        reason: Why the call was refused.
        grant: What the token grants; None unless the token has a good signature.
        retry: Whether the same call may succeed shortly.
        level: For CREDITS_EXHAUSTED, the account that cannot pay: a branch's UUID text, or the
            crew's name. Empty for every other reason.
        used_micro: Micro-credits of that account that are settled, burned or reserved.
        quota_micro: Micro-credits that the account has: its quota, or its allowance of the window.
        need_micro: Micro-credits that the call would have reserved; 0 if that is not known.
        window_number: The hour or day whose allowance the crew has spent, as the ledger numbers it
            (`core.budget.ledger_protocol.window_of`); 0 if the call lacks no allowance.
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
        raise TypeError("a verdict is not a truth value: test isinstance(verdict, Permit)")
