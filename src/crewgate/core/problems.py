"""Writes refusals: status, challenge and problem document (RFC 9457, RFC 6750), or gRPC status.

The gateway and the ASGI middleware share it.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

import msgspec
from msgspec import structs

from crewgate.core import grpc_status
from crewgate.core.audit.records import request_text
from crewgate.core.budget.ledger_protocol import WINDOW_SECONDS_DAY, WINDOW_SECONDS_HOUR
from crewgate.core.credits import format_credits
from crewgate.core.http_types import HeaderField
from crewgate.core.problem_types import BY_STATUS, INSUFFICIENT_SCOPE, ProblemType
from crewgate.core.reasons import Reason
from crewgate.core.rules.finding_text import explanation
from crewgate.core.tokens.grant import Grant
from crewgate.core.tokens.proof import PROOF_ALGORITHMS
from crewgate.core.verdict import Denial

_AFTER_SECONDS = 1  # an agent checks once a second whether a window has ended
_OK = 200
_WINDOWS = {WINDOW_SECONDS_HOUR: "hour", WINDOW_SECONDS_DAY: "day"}
# The detail if some credit is left, but too little for this call.
_TOO_FEW = (
    "{level} has {left} credits left, but this call must reserve {need}. Ask for less (of a model, "
    "by a lower max_tokens), or for more credits; do not retry it as it is."
)
# The detail of a problem that ends a running call; the title before it says why.
_MAY_HAVE_RUN = "The call was already running, so the tool may have done its work. "
_MAY_REPEAT = _MAY_HAVE_RUN + "Repeat the call only if that does no harm."
_IS_LAST = _MAY_HAVE_RUN + "Do not repeat the call: every further call of this branch is refused."

_DPOP_ALGORITHMS = b'algs="%b"' % " ".join(PROOF_ALGORITHMS).encode()
_encode = msgspec.json.Encoder().encode


DPOP_NONCE = b"dpop-nonce"


class RefusalResponse(NamedTuple):
    """A refusal as an HTTP response."""

    status: int
    fields: list[HeaderField]
    body: bytes


class ProblemFormat(Protocol):
    """Writes the problems of one request in the form that its client understands."""

    def refusal(
        self,
        kind: ProblemType,
        request: bytes,
        denial: Denial | None = None,
        *,
        authority: bytes,
        grant: Grant | None = None,
        is_running: bool = False,
    ) -> RefusalResponse:
        """Return the response for a problem.

        `is_running`: the server may have seen the call, so no client may be led to repeat it.
        """

    def event(
        self, kind: ProblemType, request: bytes, denial: Denial | None = None
    ) -> bytes | None:
        """Return the last event of a stream that is cut short; None if no event can say why."""


def refusal(
    kind: ProblemType,
    request: bytes,
    denial: Denial | None = None,
    *,
    asked: Iterable[HeaderField],
    metadata: bytes = b"",
    scope: str = "",
    for_models: bool = False,
    grant: Grant | None = None,
) -> RefusalResponse:
    """Return the refusal of a request whose fields are `asked`.

    It is a problem document; for a gRPC request, a response that is trailers only.

    `request`, `metadata`, `scope`, `for_models` and `grant` are as in `document` and `fields`.
    """
    content_type = grpc_status.answer_type(asked)
    if content_type:
        headers = [(b"content-type", content_type), *grpc_fields(kind, request, denial, grant)]
        return RefusalResponse(_OK, headers, b"")
    body = document(kind, request, denial, for_models=for_models, grant=grant)
    return RefusalResponse(kind.status, fields(kind, metadata, denial, scope=scope), body)


def of_running_call(kind: ProblemType) -> ProblemType:
    """Return the problem `kind` for a call that ends after its tool may have seen it.

    This problem invites no client to repeat the call. It has no `Retry-After` and no error code:
    after `invalid_token`, clients repeat a request with a newer token (RFC 6750, section 3.1).
    """
    detail = _IS_LAST if kind.slug == Reason.BRANCH_REVOKED.value else _MAY_REPEAT
    return structs.replace(kind, detail=detail, token_error="", retry_seconds=0)


def of_wire(status: int, asked: Iterable[HeaderField] = ()) -> RefusalResponse:
    """Return a refusal by the HTTP server itself, with one of the statuses in `BY_STATUS`."""
    return refusal(BY_STATUS[status], b"", asked=asked)


def document(
    kind: ProblemType,
    request: bytes,
    denial: Denial | None = None,
    *,
    for_models: bool = False,
    grant: Grant | None = None,
) -> bytes:
    """Return the problem document (RFC 9457, section 3); `request` is the 16-byte id, or empty.

    `grant` is that of a good token whose call has a problem without a denial.

    `for_models` adds the member `error`, from which the clients of OpenAI and Anthropic raise an
    error, in a response's body or in an event of a stream. The document ends with a newline, so
    that a shell's prompt appears below it.
    """
    content: dict[str, object] = dict(members(kind, request, denial, grant))
    if for_models:
        content["error"] = {
            "type": kind.model_error,
            "code": kind.slug,
            "message": _message(kind, denial),
        }
    return _encode(content) + b"\n"


def grpc_fields(
    kind: ProblemType,
    request: bytes,
    denial: Denial | None = None,
    grant: Grant | None = None,
) -> list[HeaderField]:
    """Return the fields that end a gRPC call with a problem, in the head or in the trailers."""
    texts = {name: str(value) for name, value in members(kind, request, denial, grant).items()}
    message = _message(kind, denial)
    seconds = _retry_seconds(kind, denial)
    found = grpc_status.fields(kind.grpc_code, kind.slug, message, texts, seconds)
    if denial is not None and denial.nonce:
        found.append((DPOP_NONCE, denial.nonce))
    return found


def members(
    kind: ProblemType, request: bytes, denial: Denial | None, grant: Grant | None
) -> dict[str, str | int]:
    """Return the members of a problem document, which other formats of refusals have as well."""
    found: dict[str, str | int] = {
        "type": kind.uri,
        "title": kind.title,
        "status": kind.status,
        "detail": _detail(kind, denial),
    }
    if request:
        found["request_id"] = request_text(request)
    grant = grant if denial is None else denial.grant
    if grant is not None:
        found["branch"] = grant.branch
        if denial is not None and denial.level:
            found["level"] = denial.level
            found["used_credits"] = format_credits(denial.used_micro)
            found["quota_credits"] = format_credits(denial.quota_micro)
            found["left_credits"] = format_credits(denial.left_micro)
            if denial.need_micro:
                found["needed_credits"] = format_credits(denial.need_micro)
    if denial is not None and denial.finding is not None:
        found["rule"] = denial.finding.rule.name
        found["count"] = denial.finding.count
        found["limit"] = denial.finding.limit
    if denial is not None and denial.window is not None:
        found["window"] = _WINDOWS[denial.window.length_seconds]
        ends = datetime.fromtimestamp(denial.window.ends_at, UTC)
        found["window_ends"] = ends.strftime("%Y-%m-%dT%H:%M:%SZ")
    if denial is not None and denial.limit is not None:
        found["limit"] = denial.limit.name
    return found


def _detail(kind: ProblemType, denial: Denial | None) -> str:
    if denial is not None and denial.limit is not None:
        return denial.limit.detail
    if denial is not None and denial.finding is not None:
        return explanation(denial.finding)
    if denial is None or denial.window is not None or not denial.left_micro:
        return kind.detail
    need = format_credits(denial.need_micro) if denial.need_micro else "more"
    return _TOO_FEW.format(level=denial.level, left=format_credits(denial.left_micro), need=need)


def _message(kind: ProblemType, denial: Denial | None) -> str:
    return f"{kind.title}. {_detail(kind, denial)}"


def _retry_seconds(kind: ProblemType, denial: Denial | None) -> int:
    """Return the seconds after which the same call may succeed; 0 if it will not."""
    if denial is not None and denial.window is not None:
        return denial.window.left_seconds + _AFTER_SECONDS
    if denial is not None and denial.limit is not None:
        return denial.limit.left_seconds
    return kind.retry_seconds


def fields(
    kind: ProblemType, metadata: bytes, denial: Denial | None = None, *, scope: str = ""
) -> list[HeaderField]:
    """Return the header fields of a refusal.

    `metadata` is the URL of the protected resource metadata (RFC 9728), empty if none is served;
    `scope` is the tool that was called, if it is known.
    """
    headers = [(b"content-type", b"application/problem+json"), (b"cache-control", b"no-store")]
    if kind.is_challenge:
        headers.append((b"www-authenticate", _challenge(kind, metadata, scope)))
    if denial is not None and denial.nonce:
        headers.append((DPOP_NONCE, denial.nonce))
    if seconds := _retry_seconds(kind, denial):
        headers.append((b"retry-after", b"%d" % seconds))
    if denial is not None and denial.limit is not None:
        headers += denial.limit.fields
    return headers


def event(
    kind: ProblemType, request: bytes, denial: Denial | None = None, *, for_models: bool = False
) -> bytes:
    """Return the last event of a stream of events that is cut short."""
    return b"event: error\ndata: %b\n" % document(kind, request, denial, for_models=for_models)


def _challenge(kind: ProblemType, metadata: bytes, scope: str) -> bytes:
    """Return the challenge, with the URL of RFC 9728, section 5.1.

    RFC 6750, section 3, and RFC 9449, section 7.1.
    """
    parts = [b'resource_metadata="%b"' % metadata] if metadata else []
    if kind.token_error:
        parts.append(b'error="%b"' % kind.token_error.encode())
        parts.append(b'error_description="%b"' % kind.detail.encode())
    if scope and kind.token_error == INSUFFICIENT_SCOPE:
        parts.append(b'scope="%b"' % scope.encode())
    if kind.scheme == "DPoP":
        parts.append(_DPOP_ALGORITHMS)
    scheme = kind.scheme.encode()
    return scheme + b" " + b", ".join(parts) if parts else scheme
