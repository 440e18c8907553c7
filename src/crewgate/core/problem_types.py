"""The registry of problem types: every refusal that a client can get from any part of Crewgate.

A type has one slug, one HTTP status, and a title and a detail in plain words: what happened, and
what to do. All that is sent for it is looked up here: the problem document (RFC 9457), the
challenge (RFC 6750), `Retry-After`, the gRPC status, the error of a language model's API and the
error of an OAuth endpoint (RFC 6749). `core.problems` and `api.problems` write the answers,
`docs/_generate/problems.py` the documentation.

To add a type, add it here and send it. If it is the reason of a verdict, give `Reason` a member.
"""

import enum
from typing import Literal

import msgspec

from crewgate.core.grpc_status import Code
from crewgate.core.reasons import Reason
from crewgate.core.status_errors import errors_of
from crewgate.errors import ControlError

_URI = "https://crewgate.dev/problems/"
_SOON_SECONDS = 1
_HELD_SECONDS = 10  # branches end, and holds lapse, not within a second
_CHALLENGED = {400, 401, 403}
# RFC 6750, section 3.1.
INSUFFICIENT_SCOPE = "insufficient_scope"


class RefusingComponent(enum.Flag):
    """The parts of Crewgate that refuse requests."""

    GATEWAY = enum.auto()  # calls of tools
    MIDDLEWARE = enum.auto()  # `crewgate.asgi`, in the server of a tool
    SERVER = enum.auto()  # the HTTP server of the gateway and of the control API
    CONTROL = enum.auto()  # the control API
    PAGE = enum.auto()  # the live page


_RPC_CODE_BASE = -31_000


_CALLS = RefusingComponent.GATEWAY | RefusingComponent.MIDDLEWARE
_APIS = RefusingComponent.CONTROL | RefusingComponent.PAGE


class ProblemType(msgspec.Struct, frozen=True):
    """One type of problem; `detail` is the text if its sender has none that is more exact.

    `token_error`: the error code of the challenge, if any (RFC 6750, section 3.1). `scheme`: the
    scheme of the challenge (RFC 9449, section 7.1, for DPoP). `retry_seconds`:
    after how long the same request may succeed; 0 if it will not, or nobody knows. `oauth_error`:
    its code at the OAuth endpoints of the control API (RFC 6749, section 5.2). `grpc`: the gRPC
    status, where that is not the one of the HTTP status.
    """

    slug: str
    status: int
    title: str
    detail: str
    senders: RefusingComponent = _CALLS
    token_error: str = ""
    scheme: Literal["Bearer", "DPoP"] = "Bearer"
    retry_seconds: int = 0
    oauth_error: str = "invalid_request"
    grpc: Code | None = None

    @property
    def uri(self) -> str:
        """The `type` of its document (RFC 9457, section 3.1.1)."""
        return _URI + self.slug

    @property
    def is_challenge(self) -> bool:
        """Whether the answer asks for a token, or for a better one."""
        return self.status in _CHALLENGED and RefusingComponent.MIDDLEWARE in self.senders

    @property
    def grpc_code(self) -> Code:
        """The status that ends a gRPC call."""
        return errors_of(self.status).grpc if self.grpc is None else self.grpc

    @property
    def model_error(self) -> str:
        """The type of the error in the format of a language model's API."""
        return errors_of(self.status).model

    def error(self, detail: str = "") -> ControlError:
        """The error that has the control API answer with this problem."""
        return ControlError(self.status, self.slug, detail or self.detail)


def rpc_code(status: int) -> int:
    """Return the code of a JSON-RPC error for an HTTP status, outside of what JSON-RPC reserves."""
    return _RPC_CODE_BASE - status


PROBLEMS: dict[str, ProblemType] = {}  # by slug


def _add(problem: ProblemType) -> ProblemType:
    if problem.slug in PROBLEMS:
        raise ValueError(f"there are two problem types with the slug {problem.slug}")
    PROBLEMS[problem.slug] = problem
    return problem


def _bad_token(reason: Reason, title: str, detail: str) -> None:
    _add(ProblemType(reason.value, 401, title, detail, token_error="invalid_token"))


def _no_proof(reason: Reason, title: str, detail: str, token_error: str) -> None:
    _add(ProblemType(reason.value, 401, title, detail, token_error=token_error, scheme="DPoP"))


def _unavailable(slug: str, title: str, detail: str) -> ProblemType:
    """Add a problem of the APIs that the same request may not meet a second later."""
    return _add(ProblemType(slug, 503, title, detail, _APIS, retry_seconds=_SOON_SECONDS))


# fmt: off
# The reasons of verdicts. The texts of 400, 401 and 403 stand in challenges as well: ASCII without
# quotes and backslashes (RFC 6750, section 3). The form, the key and the signature of a token share
# one text, so that none helps to forge a token.
INVALID_REQUEST = _add(ProblemType(Reason.INVALID_REQUEST.value, 400, "Invalid request",
    "The request is malformed, or it can be read in more than one way. Send one token in one "
    "header and no access_token in the URL, a path without ambiguous parts, and no header whose "
    "name begins with X-Crewgate-.",
    _CALLS | _APIS, token_error="invalid_request"))
_add(ProblemType(Reason.MISSING_TOKEN.value, 401, "Token required",
    "The request has no token, or has it without the word Bearer. Send a token of your crew as "
    "Authorization: Bearer TOKEN."))
_bad_token(Reason.INVALID_TOKEN, "Invalid token",
    "The token is malformed, or it is not signed by a key of a crew that this gateway knows. Get "
    "another one. If that is refused too, compare the crew's keys with those in the gateway's "
    "configuration.")
_bad_token(Reason.TOKEN_EXPIRED, "Token expired",
    "The lifetime of the token has ended. Refresh the token and send the request again.")
_bad_token(Reason.TOKEN_NOT_YET_VALID, "Token not valid yet",
    "The token becomes valid in the future. Compare the clock of its issuer with the gateway's.")
_bad_token(Reason.TOKEN_LIFETIME, "Token lifetime too long",
    "The crew does not allow tokens with so long a lifetime, or the role or orchestrator of the "
    "token does not. Get one with a shorter lifetime.")
_bad_token(Reason.TOKEN_CEILING, "Branch too deep",
    "The crew does not allow branches so many levels below a run, or the role or orchestrator of "
    "the token does not. Spawn from a higher branch.")
_bad_token(Reason.ROLE_NOT_ALLOWED, "Role not allowed",
    "The crew lists the roles that its tokens may name, and the role of the token is not one of "
    "them. Get a token with a listed role, or add the role to the crew's configuration.")
_bad_token(Reason.WRONG_AUDIENCE, "Token for another audience",
    "The token was issued for another gateway. Get one whose audience (aud) is this gateway.")
_bad_token(Reason.WRONG_ISSUER, "Token of another issuer",
    "The key that signed the token belongs to another issuer, crew or orchestrator than the token "
    "names. Compare iss, crew and client_id of the token with the gateway's configuration.")
_bad_token(Reason.BRANCH_REVOKED, "Branch revoked",
    "The token, a branch of its path, or its subject, process, orchestrator, crew or key was "
    "revoked. Or an answer cost more than was reserved, which ends the branch. Do not retry.")
_bad_token(Reason.BINDING_MISMATCH, "Token does not fit this call",
    "The client certificate is not valid, or is of another crew or branch than the token. Or the "
    "tool belongs to another crew, and there is no client certificate. Or an earlier token of this "
    "branch named other parents. Send a token and a certificate of one crew, or of one branch. If "
    "that does not help, get a new token.")
_no_proof(Reason.TOKEN_UNBOUND, "Token without a key",
    "The crew, its role or orchestrator, or the tool requires a token that names a key (cnf), and "
    "this one names none, so everyone who reads it could use it. Get a token that is bound to a "
    "key.", "invalid_token")
_no_proof(Reason.INVALID_PROOF, "Key not proven",
    "The request does not prove that its sender has the key of the token. Send the token as "
    "Authorization: DPoP TOKEN, with a new proof for this request in the header DPoP. But if the "
    "token names a certificate, connect with that and send Authorization: Bearer TOKEN.",
    "invalid_dpop_proof")
_no_proof(Reason.PROOF_REPLAYED, "Proof already used",
    "A request with this DPoP proof came before. Make a new proof for each request.",
    "invalid_dpop_proof")
_no_proof(Reason.USE_NONCE, "Nonce required",
    "The DPoP proof has no nonce of this gateway, or an old one. Send the request again with a new "
    "proof, which has the value of the header DPoP-Nonce of this answer.", "use_dpop_nonce")
_add(ProblemType(Reason.PROOFS_FULL.value, 503, "No room for another proof",
    "The gateway cannot remember further DPoP proofs of this crew now, so it takes none. Retry "
    "shortly. If this lasts, ask the operator of the gateway to raise proofs in its table.",
    retry_seconds=_SOON_SECONDS))
_add(ProblemType(Reason.UNKNOWN_TOOL.value, 404, "Unknown tool",
    "No tool or endpoint has this method and path at this host. Compare them with the gateway's "
    "configuration or, in a server of your own, with the argument `tool` of CrewgateMiddleware."))
_add(ProblemType(Reason.TOOL_NOT_ALLOWED.value, 403, "Tool not allowed",
    "The token does not allow this tool, or its crew, role or orchestrator does not. Ask for a "
    "token that does, or have the tool added to that limit.",
    token_error=INSUFFICIENT_SCOPE))
_add(ProblemType(Reason.LOOP_DETECTED.value, 403, "Loop detected",
    "A rule of the gateway counts what this branch does again and again. Do not repeat the call: "
    "use what it has answered, do something else, or report that the task cannot be done."))
_add(ProblemType(Reason.CREDITS_EXHAUSTED.value, 403, "Not enough credits",
    "The credits are spent. Do not retry; ask for more credits.",
    grpc=Code.RESOURCE_EXHAUSTED))
_add(ProblemType(Reason.BUDGET_UNAVAILABLE.value, 503, "Budget status unavailable",
    "Running calls have reserved the credits that this call needs, or the ledger or the agent "
    "process does not answer. Retry shortly. If this lasts, `crewgate status` names the cause.",
    retry_seconds=_SOON_SECONDS))
_add(ProblemType(Reason.TABLE_FULL.value, 503, "No room for another branch",
    "The gateway's table of branches is full, or this crew's share of it. Branches that are in it "
    "go on. Retry later, or ask the gateway's operator: `crewgate status` says how to mend it.",
    retry_seconds=_HELD_SECONDS))
_add(ProblemType(Reason.ORCHESTRATOR_HELD.value, 503, "Orchestrator may not open branches now",
    "The minting watch or an operator holds the orchestrator. Branches that it has opened go on. "
    "Retry later, or ask the gateway's operator: `crewgate status` says who holds it, and until "
    "when.",
    retry_seconds=_HELD_SECONDS))
_add(ProblemType(Reason.REVOCATION_UNAVAILABLE.value, 503, "Revocation status unavailable",
    "This machine may lack the newest revocations, so it refuses calls. Retry shortly.",
    retry_seconds=_SOON_SECONDS))
_add(ProblemType(Reason.RATE_LIMITED.value, 429, "Too many calls in this time",
    "A limit of the gateway allows no further call now. Nothing was charged. Retry after the "
    "seconds of Retry-After.", retry_seconds=_SOON_SECONDS))
_add(ProblemType(Reason.TOO_MANY_CALLS.value, 429, "Too many calls at once",
    "A limit of the gateway allows no further call until one of the running calls has ended. "
    "Nothing was charged. Wait for your own running calls, and then retry.",
    retry_seconds=_SOON_SECONDS))
_add(ProblemType(Reason.UNPRICED.value, 422, "Price cannot be determined",
    "The request does not say what the call costs.", RefusingComponent.GATEWAY))
_add(ProblemType(Reason.UPGRADE.value, 501, "Protocol upgrade not supported",
    "Send the request over HTTP/1.1 or HTTP/2 without Upgrade. WebSocket is not supported.",
    RefusingComponent.GATEWAY))

_add(ProblemType(Reason.ARGUMENTS_NOT_ALLOWED.value, 403, "Arguments not allowed",
    "The gateway's operator does not allow the tool to be called with these arguments.",
    RefusingComponent.GATEWAY))

# A crew's credits of an hour or a day. Unlike a branch's, which end for good, they come back, so a
# client is right to try again after `Retry-After` (RFC 6585, section 4): when the window ends.
ALLOWANCE_EXHAUSTED = _add(ProblemType("allowance-exhausted", 429, "Crew out of credits for now",
    "The crew has spent its credits of this hour or day. Retry when that window has ended."))

# The gateway's own.
AUDIT_UNAVAILABLE = _add(ProblemType("audit-unavailable", 503, "Audit log unavailable",
    "The gateway cannot write its audit log, so it forwards no calls. Retry later, or ask the "
    "gateway's operator: `crewgate status` says how to mend it.",
    RefusingComponent.GATEWAY, retry_seconds=_SOON_SECONDS))
BUSY = _add(ProblemType("busy", 503, "Request body not read",
    "The gateway prices this request by its body. The buffer for such bodies is full, or this one "
    "came too slowly. Retry shortly.", RefusingComponent.GATEWAY, retry_seconds=_SOON_SECONDS))
MISDIRECTED = _add(ProblemType("misdirected", 421, "Host not served here",
    "This listener does not serve the host that the request names. Compare it with the `hosts` of "
    "the gateway's configuration, or open another connection for this host.",
    RefusingComponent.GATEWAY | RefusingComponent.PAGE))
UPSTREAM_FAILED = _add(ProblemType("upstream-failed", 502, "Tool server failed",
    "The connection to the tool's server broke, or the server's answer was not valid HTTP. The "
    "server may have seen the call: repeat it only if that does no harm.",
    RefusingComponent.GATEWAY))
UPSTREAM_TIMEOUT = _add(ProblemType("upstream-timeout", 504, "Tool server timed out",
    "The tool's server did not answer in time. It may have seen the call: repeat it only if that "
    "does no harm.", RefusingComponent.GATEWAY))
UPSTREAM_UNAVAILABLE = _add(ProblemType("upstream-unavailable", 503, "Tool server unavailable",
    "No server of this tool answers now. The gateway sent nothing of the call and charged nothing: "
    "a retry is safe.",
    RefusingComponent.GATEWAY, retry_seconds=_SOON_SECONDS))

# Of MCP endpoints.
_add(ProblemType(Reason.TOOL_CHANGED.value, 403, "Tool changed",
    "The server has changed the description or the schema of this tool, and the gateway's operator "
    "has not approved the change. Do not retry; use another tool, or ask the operator to run "
    "`crewgate mcp diff`.", RefusingComponent.GATEWAY))
_add(ProblemType(Reason.TOOL_NOT_APPROVED.value, 403, "Tool not approved",
    "The gateway's operator has not approved this tool: its server has never listed it, or has "
    "added it later. Do not retry; use another tool, or ask the operator to run "
    "`crewgate mcp approve`.", RefusingComponent.GATEWAY))
_add(ProblemType(Reason.PINS_UNAVAILABLE.value, 503, "Pinned tools not known yet",
    "The gateway has just started and does not know its pinned tools yet. Retry shortly. If this "
    "lasts, `crewgate status` names the cause.",
    RefusingComponent.GATEWAY, retry_seconds=_SOON_SECONDS))
NO_STREAM = _add(ProblemType("no-stream", 405, "Send messages by POST",
    "This endpoint serves MCP 2026-07-28, which has neither streams by GET nor sessions to delete. "
    "Send each message by POST.", RefusingComponent.GATEWAY))
ORIGIN_NOT_ALLOWED = _add(ProblemType("origin-not-allowed", 403, "Origin not allowed",
    "The header Origin says that a web page sent the request, and this endpoint does not allow the "
    "page. Send no Origin, or ask the gateway's operator.",
    RefusingComponent.GATEWAY | RefusingComponent.PAGE))

# The HTTP server's, if it cannot parse a request, or the request takes too long. They have no
# request id and no audit record, but are counted. One type for each status.
BODY_TOO_LARGE = _add(ProblemType(Reason.BODY_TOO_LARGE.value, 413, "Request body too large",
    "The body is larger than this tool takes. Send a smaller one.",
    RefusingComponent.GATEWAY | RefusingComponent.SERVER))
INTERNAL_ERROR = _add(ProblemType("internal-error", 500, "Internal error",
    "Crewgate itself has failed. Its log says where; ask its operator.",
    RefusingComponent.SERVER | _APIS))
_add(ProblemType("malformed", 400, "Malformed request",
    "The request breaks a rule of HTTP, so two servers could read it in two ways.",
    RefusingComponent.SERVER))
_add(ProblemType("too-slow", 408, "Request too slow",
    "The request did not arrive in time. Send all of it without a pause.",
    RefusingComponent.SERVER))
_add(ProblemType("too-many-at-once", 429, "Too many requests at once",
    "Too many requests wait on this connection. Read some answers before you send more.",
    RefusingComponent.SERVER))
_add(ProblemType("head-too-large", 431, "Request headers too large",
    "The headers are too many or too long. Send fewer or shorter ones.", RefusingComponent.SERVER))
_add(ProblemType("not-implemented", 501, "Not implemented",
    "The method, such as CONNECT or TRACE, or the transfer coding is not supported.",
    RefusingComponent.SERVER))
_add(ProblemType("unknown-version", 505, "HTTP version not supported",
    "Use HTTP/1.1 or HTTP/2.", RefusingComponent.SERVER))

# The control API's; mostly it sends a detail about the one request.
CERTIFICATE_NOT_VALID = _add(ProblemType("certificate-not-valid", 401, "Certificate not valid",
    "The client certificate is revoked, expired or unknown. Connect with a valid one.",
    RefusingComponent.CONTROL, oauth_error="invalid_client"))
NOT_PERMITTED = _add(ProblemType("not-permitted", 403, "Not permitted",
    "The client certificate, or the person who has logged in, may not do this.",
    _APIS, oauth_error="unauthorized_client"))
NOT_FOUND = _add(ProblemType("not-found", 404, "Not found",
    "The request names something that does not exist, or that belongs to another crew.",
    _APIS))
NO_SUCH_METHOD = _add(ProblemType("no-such-method", 405, "No such method",
    "This path does not have the method. The header Allow lists those that it has.",
    _APIS))
REFUSED = _add(ProblemType("refused", 409, "Refused",
    "The request contradicts the present state.", _APIS, oauth_error="refused"))
JOURNAL_LOCKED = _add(ProblemType("journal-locked", 409, "Journal locked",
    "Another process issues tokens under this name. End it, or use another name.",
    RefusingComponent.CONTROL, oauth_error="temporarily_unavailable"))
UNSUPPORTED_MEDIA_TYPE = _add(ProblemType("unsupported-media-type", 415, "Unsupported media type",
    "The body is not of the type that this path takes.", _APIS))
TOO_MANY_REQUESTS = _add(ProblemType("too-many-requests", 429, "Too many requests",
    "The caller has too many requests under way, or sends too many a second. Retry later.",
    _APIS, retry_seconds=_SOON_SECONDS, oauth_error="temporarily_unavailable"))
TOO_MANY_CERTIFICATES = _add(ProblemType("too-many-certificates", 429, "Too many certificates",
    "The identity has been issued its maximum of certificates for this hour. Renew a certificate "
    "only after half of its lifetime.",
    RefusingComponent.CONTROL, retry_seconds=_SOON_SECONDS))
AGENT_UNAVAILABLE = _unavailable("agent-unavailable", "Agent unavailable",
    "The agent of this gateway does not answer. Retry shortly.")
AUTHORITY_UNAVAILABLE = _unavailable("authority-unavailable", "Authority unavailable",
    "The certificate authority cannot do this now. Retry later.")
CONFIGURATION_UNUSABLE = _unavailable("configuration-unusable", "Configuration unusable",
    "A file of this gateway is missing or wrong. Ask its operator to run `crewgate check`.")
JOURNAL_UNAVAILABLE = _unavailable("journal-unavailable", "Journal unavailable",
    "The gateway cannot write its journal of tokens, so it signs none. Retry later.")
TEMPORARILY_UNAVAILABLE = _add(ProblemType(
    "temporarily-unavailable", 503, "Temporarily unavailable",
    "The minting watch holds the orchestrator back. Retry later.",
    RefusingComponent.CONTROL, oauth_error="temporarily_unavailable", retry_seconds=_SOON_SECONDS))
INVALID_SCOPE = _add(ProblemType("invalid-scope", 400, "Invalid scope",
    "The request asks for more than the crew has, or its parent has left. Ask for less.",
    RefusingComponent.CONTROL, oauth_error="invalid_scope"))
INVALID_GRANT = _add(ProblemType("invalid-grant", 400, "Invalid grant",
    "The token in the request is revoked or expired, or belongs to another orchestrator. Send "
    "another one.",
    RefusingComponent.CONTROL, oauth_error="invalid_grant"))
NO_FURTHER_TOKEN = _add(ProblemType("no-further-token", 400, "No further token",
    "The branch, or a branch above it, is revoked. Start or spawn another one.",
    RefusingComponent.CONTROL, oauth_error="invalid_grant"))
EXTENSION_REFUSED = _add(ProblemType("extension-refused", 400, "Extension refused",
    "The branch has ended, or the limits of extensions of its crew do not allow a further token.",
    RefusingComponent.CONTROL, oauth_error="invalid_grant"))
UNAUTHORIZED_CLIENT = _add(ProblemType("unauthorized-client", 400, "Unauthorized client",
    "This gateway has no key that signs for the orchestrator.",
    RefusingComponent.CONTROL, oauth_error="unauthorized_client"))
UNSUPPORTED_GRANT_TYPE = _add(ProblemType("unsupported-grant-type", 400, "Unsupported grant type",
    "The endpoint does not know this grant type.",
    RefusingComponent.CONTROL, oauth_error="unsupported_grant_type"))
SLOW_DOWN = _add(ProblemType("slow-down", 429, "Slow down",
    "The orchestrator asks for too many tokens a second. Retry later.",
    RefusingComponent.CONTROL, retry_seconds=_SOON_SECONDS, oauth_error="slow_down"))

# The live page's own. One text for all reasons, so that none helps to steal a session.
NO_SESSION = _add(ProblemType("no-session", 401, "Not logged in",
    "The request has no session, or no proof that it comes from the browser of the session. Log in "
    "again.", RefusingComponent.PAGE))
LOGIN_UNAVAILABLE = _add(ProblemType("login-unavailable", 503, "Login unavailable",
    "The identity provider does not answer, or cannot be used. Retry shortly. If this lasts, ask "
    "the operator of the page.", RefusingComponent.PAGE, retry_seconds=_SOON_SECONDS))
# fmt: on

PROBLEM_TYPES: dict[Reason, ProblemType] = {reason: PROBLEMS[reason.value] for reason in Reason}
BY_STATUS: dict[int, ProblemType] = {
    problem.status: problem
    for problem in PROBLEMS.values()
    if RefusingComponent.SERVER in problem.senders
}
