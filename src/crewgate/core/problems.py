"""How a refusal is said: status, challenge and problem document (RFC 9457, RFC 6750).

One home for the gateway and the ASGI middleware. Says nothing that helps to forge a token: form,
key and signature share one description. Knows verdicts and texts, neither requests nor servers.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from crewgate.core import grpc_status
from crewgate.core.audit.records import request_text
from crewgate.core.budget.ledger_protocol import WINDOW_SECONDS_DAY, WINDOW_SECONDS_HOUR
from crewgate.core.credits import format_credits
from crewgate.core.http import HeaderField
from crewgate.core.verdict import Denial, Reason

TYPES = "https://crewgate.dev/problems/"
_RETRY_SECONDS = 1
_HELD_SECONDS = 10  # room comes back as branches end, a hold as it lapses: not within a second
_AFTER_SECONDS = 1  # an agent looks once a second whether a window has ended
_UNAVAILABLE = 503
_OK = 200
_WINDOWS = {WINDOW_SECONDS_HOUR: "hour", WINDOW_SECONDS_DAY: "day"}
_CHALLENGED = {400, 401, 403}
# By status, in the words that both of the large providers use.
_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    503: "overloaded_error",
}


class ProblemType(msgspec.Struct, frozen=True):
    """One kind of problem: its slug, status, words, and error code of RFC 6750 §3.1 if any."""

    slug: str
    status: int
    title: str
    detail: str
    error: str = ""
    challenge: bool = False


class Refusal(NamedTuple):
    """A refusal as HTTP says it."""

    status: int
    fields: list[HeaderField]
    body: bytes


def _kind(reason: Reason, status: int, title: str, detail: str, error: str = "") -> ProblemType:
    return ProblemType(reason.value, status, title, detail, error, challenge=status in _CHALLENGED)


_INVALID = "invalid_token"
PROBLEM_TYPES: dict[Reason, ProblemType] = {
    Reason.INVALID_REQUEST: _kind(
        Reason.INVALID_REQUEST,
        400,
        "The request is malformed",
        "Send one token in one place, an unambiguous path, and none of the gateway's own fields.",
        "invalid_request",
    ),
    Reason.MISSING_TOKEN: _kind(
        Reason.MISSING_TOKEN, 401, "A token is needed", "Send a Bearer token of your crew."
    ),
    Reason.INVALID_TOKEN: _kind(
        Reason.INVALID_TOKEN,
        401,
        "The token is not valid",
        "The token is malformed, or no key of this gateway's crews signed it.",
        _INVALID,
    ),
    Reason.TOKEN_EXPIRED: _kind(
        Reason.TOKEN_EXPIRED, 401, "The token has expired", "Refresh it.", _INVALID
    ),
    Reason.TOKEN_NOT_YET_VALID: _kind(
        Reason.TOKEN_NOT_YET_VALID,
        401,
        "The token is not valid yet",
        "Its times lie in the future: compare the clocks.",
        _INVALID,
    ),
    Reason.TOKEN_LIFETIME: _kind(
        Reason.TOKEN_LIFETIME,
        401,
        "The token lives too long",
        "Its lifetime is over the crew's ceiling.",
        _INVALID,
    ),
    Reason.TOKEN_CEILING: _kind(
        Reason.TOKEN_CEILING,
        401,
        "The token is over a ceiling",
        "Its depth, or who signed it, is not what its crew may grant.",
        _INVALID,
    ),
    Reason.WRONG_AUDIENCE: _kind(
        Reason.WRONG_AUDIENCE,
        401,
        "The token is for another audience",
        "Ask for a token for this gateway.",
        _INVALID,
    ),
    Reason.WRONG_ISSUER: _kind(
        Reason.WRONG_ISSUER,
        401,
        "The token names another issuer",
        "The issuer or crew is not the one that its key belongs to.",
        _INVALID,
    ),
    Reason.BRANCH_REVOKED: _kind(
        Reason.BRANCH_REVOKED,
        401,
        "The branch is revoked",
        "The token, its branch, or something above it has been revoked.",
        _INVALID,
    ),
    Reason.BINDING_MISMATCH: _kind(
        Reason.BINDING_MISMATCH,
        401,
        "The token does not belong here",
        "Certificate, ancestry and the tool's crew must match the token's.",
        _INVALID,
    ),
    Reason.UNKNOWN_TOOL: _kind(
        Reason.UNKNOWN_TOOL, 404, "There is no such tool", "No tool has this method and path."
    ),
    Reason.TOOL_NOT_ALLOWED: _kind(
        Reason.TOOL_NOT_ALLOWED,
        403,
        "The tool is not allowed",
        "The tool is outside the branch's allowed tools or the crew's ceiling.",
        "insufficient_scope",
    ),
    Reason.CREDITS_EXHAUSTED: _kind(
        Reason.CREDITS_EXHAUSTED,
        403,
        "The credits do not cover this call",
        "They are spent. Do not retry.",
    ),
    Reason.BUDGET_UNAVAILABLE: _kind(
        Reason.BUDGET_UNAVAILABLE,
        503,
        "The budget cannot be told now",
        "The ledger did not answer, or calls in flight hold the credit. Retry shortly.",
    ),
    Reason.TABLE_FULL: _kind(
        Reason.TABLE_FULL,
        503,
        "There is no room for another branch",
        "The gateway's table is full, or this crew's share of it; branches that it has go "
        "on. Retry later, or ask its operator: `crewgate status` says how to mend it.",
    ),
    Reason.ORCHESTRATOR_HELD: _kind(
        Reason.ORCHESTRATOR_HELD,
        503,
        "The orchestrator opens no branches now",
        "The minting watch or an operator holds it; branches that it has go on. Retry later, or "
        "ask the gateway's operator: `crewgate status` says who holds it, and until when.",
    ),
    Reason.REVOCATION_UNAVAILABLE: _kind(
        Reason.REVOCATION_UNAVAILABLE,
        503,
        "Revocations cannot be told now",
        "This gateway does not know the newest revocations. Retry shortly.",
    ),
    Reason.UNPRICED: _kind(
        Reason.UNPRICED, 422, "The call has no price", "It does not say what it costs."
    ),
    Reason.UPGRADE: _kind(
        Reason.UPGRADE,
        501,
        "No other protocol is spoken here",
        "Send a request of HTTP/1.1 or HTTP/2 without Upgrade; WebSocket is not served.",
    ),
}

# The crew's credits of an hour or a day. Unlike a branch's, which end for good, they come back, so
# a client is right to try again after `Retry-After` (RFC 6585, section 4).
ALLOWANCE = ProblemType(
    "allowance-exhausted",
    429,
    "The crew's credits for now do not cover this call",
    "They are spent until the window ends. Retry after that.",
)

# What the HTTP server refuses by itself: a request that none could be made of, or that took too
# long. So it has no id and no record, but is counted.
WIRE: dict[int, ProblemType] = {
    kind.status: kind
    for kind in (
        ProblemType(
            "malformed", 400, "This is no request", "Two servers could read it in two ways."
        ),
        ProblemType("too-slow", 408, "The request came too slowly", "Send it in one go."),
        ProblemType(
            "body-too-large", 413, "The body is too large", "No tool takes one of this size."
        ),
        ProblemType(
            "too-many-at-once", 429, "Too many requests at once", "Wait for some answers first."
        ),
        ProblemType(
            "head-too-large", 431, "The head is too large", "Send fewer fields, or shorter ones."
        ),
        ProblemType("internal-error", 500, "The gateway failed", "This is an error of its own."),
        ProblemType(
            "not-implemented", 501, "This is not served here", "Neither CONNECT nor TRACE is."
        ),
        ProblemType(
            "unknown-version", 505, "This version of HTTP is unknown", "Use HTTP/1.1 or HTTP/2."
        ),
    )
}

_TOO_MUCH = (
    "What is left at the level named does not cover what this call reserves. Ask for less, such as "
    "a lower max_tokens, or for more credits; do not retry it as it is."
)

_encode = msgspec.json.Encoder().encode


def kind_of(reason: Reason, denial: Denial | None) -> ProblemType:
    """The kind of problem that a refusal for `reason` is."""
    return PROBLEM_TYPES[reason] if denial is None or denial.window is None else ALLOWANCE


def refusal(
    kind: ProblemType,
    request: bytes,
    denial: Denial | None = None,
    *,
    asked: Iterable[HeaderField],
    metadata: bytes = b"",
    scope: str = "",
    for_models: bool = False,
) -> Refusal:
    """The refusal of a request whose fields are `asked`: a problem document, or gRPC's trailers.

    `request`, `metadata`, `scope` and `for_models` are as in `document` and `fields`.
    """
    content_type = grpc_status.answer_type(asked)
    if content_type:
        said = [(b"content-type", content_type), *grpc_fields(kind, request, denial)]
        return Refusal(_OK, said, b"")
    body = document(kind, request, denial, for_models=for_models)
    return Refusal(kind.status, fields(kind, metadata, denial, scope=scope), body)


def of_wire(status: int, asked: Iterable[HeaderField] = ()) -> Refusal:
    """How the HTTP server refuses by itself, with one of the statuses of `WIRE`."""
    return refusal(WIRE[status], b"", asked=asked)


def document(
    kind: ProblemType, request: bytes, denial: Denial | None = None, *, for_models: bool = False
) -> bytes:
    """The problem document (RFC 9457, section 3); `request` is the 16-byte request id, or empty.

    `for_models` adds the member in which clients of language models look for an error: OpenAI's and
    Anthropic's both raise it, as the answer's body or as an event of a stream. It ends its line, so
    that a shell's prompt stands below it.
    """
    members: dict[str, object] = dict(_members(kind, request, denial))
    if for_models:
        members["error"] = {
            "type": _ERRORS.get(kind.status, "api_error"),
            "code": kind.slug,
            "message": _message(kind, denial),
        }
    return _encode(members) + b"\n"


def grpc_fields(
    kind: ProblemType, request: bytes, denial: Denial | None = None
) -> list[HeaderField]:
    """The fields that end a call of gRPC with the same problem, in the head or in the trailers."""
    members = {name: str(value) for name, value in _members(kind, request, denial).items()}
    message = _message(kind, denial)
    seconds = _retry_seconds(kind, denial)
    return grpc_status.fields(kind.status, kind.slug, message, members, seconds)


def _members(kind: ProblemType, request: bytes, denial: Denial | None) -> dict[str, str | int]:
    members: dict[str, str | int] = {
        "type": TYPES + kind.slug,
        "title": kind.title,
        "status": kind.status,
        "detail": _detail(kind, denial),
    }
    if request:
        members["request_id"] = request_text(request)
    if denial is not None and denial.grant is not None:
        members["branch"] = denial.grant.branch
        if denial.level:
            members["level"] = denial.level
            members["used_credits"] = format_credits(denial.used_micro)
            members["quota_credits"] = format_credits(denial.quota_micro)
            members["left_credits"] = format_credits(denial.left_micro)
            if denial.need_micro:
                members["needed_credits"] = format_credits(denial.need_micro)
    if denial is not None and denial.window is not None:
        members["window"] = _WINDOWS[denial.window.length_seconds]
        ends = datetime.fromtimestamp(denial.window.ends_at, UTC)
        members["window_ends"] = ends.strftime("%Y-%m-%dT%H:%M:%SZ")
    return members


def _detail(kind: ProblemType, denial: Denial | None) -> str:
    if denial is None or denial.window is not None or not denial.left_micro:
        return kind.detail
    return _TOO_MUCH


def _message(kind: ProblemType, denial: Denial | None) -> str:
    """The problem in one text."""
    return f"{kind.title}. {_detail(kind, denial)}"


def _retry_seconds(kind: ProblemType, denial: Denial | None) -> int:
    """After how long the same call may succeed; 0 if it will not."""
    if denial is not None and denial.window is not None:
        return denial.window.left_seconds + _AFTER_SECONDS
    if kind.slug in {Reason.TABLE_FULL.value, Reason.ORCHESTRATOR_HELD.value}:
        return _HELD_SECONDS
    return _RETRY_SECONDS if kind.status == _UNAVAILABLE else 0


def fields(
    kind: ProblemType, metadata: bytes, denial: Denial | None = None, *, scope: str = ""
) -> list[HeaderField]:
    """The header fields of a refusal.

    `metadata` is the URL of the document of RFC 9728, empty where none is served; `scope` the
    tool that was asked for, if it is known.
    """
    headers = [(b"content-type", b"application/problem+json"), (b"cache-control", b"no-store")]
    if kind.challenge:
        headers.append((b"www-authenticate", _challenge(kind, metadata, scope)))
    if seconds := _retry_seconds(kind, denial):
        headers.append((b"retry-after", b"%d" % seconds))
    return headers


def event(
    kind: ProblemType, request: bytes, denial: Denial | None = None, *, for_models: bool = False
) -> bytes:
    """The last event of a stream of events that is cut."""
    return b"event: error\ndata: %b\n" % document(kind, request, denial, for_models=for_models)


def _challenge(kind: ProblemType, metadata: bytes, scope: str) -> bytes:
    """The challenge of RFC 6750, section 3, with the parameter of RFC 9728, section 5.1."""
    parts = [b'resource_metadata="%b"' % metadata] if metadata else []
    if kind.error:
        parts.append(b'error="%b"' % kind.error.encode())
        parts.append(b'error_description="%b"' % kind.detail.encode())
    if scope and kind.error == "insufficient_scope":
        parts.append(b'scope="%b"' % scope.encode())
    return b"Bearer " + b", ".join(parts) if parts else b"Bearer"
