"""The reasons of refused calls; `problem_types` has what a client gets for each."""

import enum


class Reason(enum.Enum):
    """Why a call was refused. The value is the slug of a problem type.

    For a spent hour or day of a crew, the reason is CREDITS_EXHAUSTED, `Denial.window` is set, and
    the problem type is `allowance-exhausted`.
    """

    INVALID_REQUEST = "invalid-request"
    MISSING_TOKEN = "missing-token"
    INVALID_TOKEN = "invalid-token"
    TOKEN_EXPIRED = "token-expired"
    TOKEN_NOT_YET_VALID = "token-not-yet-valid"
    TOKEN_LIFETIME = "token-lifetime"
    TOKEN_CEILING = "token-ceiling"
    ROLE_NOT_ALLOWED = "role-not-allowed"
    WRONG_AUDIENCE = "wrong-audience"
    WRONG_ISSUER = "wrong-issuer"
    BRANCH_REVOKED = "branch-revoked"
    BINDING_MISMATCH = "binding-mismatch"
    TOKEN_UNBOUND = "token-unbound"
    INVALID_PROOF = "invalid-proof"
    PROOF_REPLAYED = "proof-replayed"
    USE_NONCE = "use-dpop-nonce"
    PROOFS_FULL = "proofs-full"
    UNKNOWN_TOOL = "unknown-tool"
    TOOL_NOT_ALLOWED = "tool-not-allowed"
    LOOP_DETECTED = "loop-detected"  # a rule on branches refuses the call
    CREDITS_EXHAUSTED = "credits-exhausted"
    BUDGET_UNAVAILABLE = "budget-unavailable"
    TABLE_FULL = "table-full"  # no room for another branch of any crew, or of this crew
    ORCHESTRATOR_HELD = "orchestrator-held"  # throttled or quarantined: opens no branches
    REVOCATION_UNAVAILABLE = "revocation-unavailable"
    RATE_LIMITED = "rate-limited"
    TOO_MANY_CALLS = "too-many-concurrent-calls"
    # The gateway itself checks for these four, after the gate's verdict.
    UNPRICED = "unpriced"  # the request does not tell its cost
    UPGRADE = "upgrade-unsupported"  # the request asks for another protocol
    BODY_TOO_LARGE = "body-too-large"  # the body has more bytes than the tool takes
    ARGUMENTS_NOT_ALLOWED = "arguments-not-allowed"  # a rule of an MCP tool forbids its arguments
    # The gateway compares MCP tools with those that it has pinned.
    TOOL_CHANGED = "tool-changed"
    TOOL_NOT_APPROVED = "tool-not-approved"  # the server never listed it, or added it later
    PINS_UNAVAILABLE = "pins-unavailable"  # a worker that has just started


# Refusals that rules on branches count: of calls that a branch may not make.
REFUSED_FOR_TOOL = frozenset(
    {
        Reason.UNKNOWN_TOOL,
        Reason.TOOL_NOT_ALLOWED,
        Reason.ARGUMENTS_NOT_ALLOWED,
        Reason.TOOL_CHANGED,
        Reason.TOOL_NOT_APPROVED,
    }
)
