"""Errors as the control API tells them: status, slug and words, as OAuth or as RFC 9457 has it.

What is ours, the agent, the CA, a file, is told as that, without a path of this machine; the log
has the rest. Knows no routes but those that speak OAuth.
"""

import msgspec
from starlette.responses import Response

from crewgate.api.schemas import OAuthProblem, Problem
from crewgate.core.problems import TYPES
from crewgate.errors import (
    AuthorityError,
    ConfigurationError,
    ControlError,
    CrewgateError,
    IssuerError,
    LinkError,
    RefusedError,
    TableError,
)

_encode = msgspec.json.Encoder().encode
PROBLEM = "application/problem+json"
OAUTH_PATHS = frozenset({"/v1/tokens", "/v1/introspect"})
_SERVER_ERROR = 500
_LATER = {429, 503}
# RFC 6749 §5.2 for what the other endpoints call otherwise.
_CODES = {
    "not-permitted": "unauthorized_client",
    "certificate-not-valid": "invalid_client",
    "too-many-requests": "temporarily_unavailable",
}


def control_error(error: CrewgateError) -> ControlError:
    """What an error of the office is to the caller."""
    if isinstance(error, ControlError):
        return error
    if isinstance(error, RefusedError | IssuerError):
        return ControlError(409, "refused", str(error))
    if isinstance(error, LinkError | TableError):
        return ControlError(503, "agent-unavailable", "the agent of this gateway does not answer")
    if isinstance(error, AuthorityError):
        return ControlError(503, "authority-unavailable", "the CA cannot do that now")
    if isinstance(error, ConfigurationError):
        return ControlError(503, "configuration-unusable", "a file of this gateway is unusable")
    return ControlError(500, "internal-error", "an error of ours; it is in our log")


def is_ours(error: ControlError) -> bool:
    """Whether its log should tell a person more."""
    return error.status >= _SERVER_ERROR


def response(path: str, error: ControlError) -> Response:
    """The answer to a request for `path` that is refused."""
    status, detail = error.status, str(error)
    headers = {"cache-control": "no-store"}
    if status in _LATER:
        headers["retry-after"] = "1"
    if path in OAUTH_PATHS and not is_ours(error):
        code = _CODES.get(error.slug, error.slug if "-" not in error.slug else "invalid_request")
        body = _encode(OAuthProblem(error=code, error_description=_plain(detail)))
        return Response(body, status, headers, "application/json")
    slug = error.slug.replace("_", "-")
    title = slug.replace("-", " ").capitalize()
    problem = Problem(type=TYPES + slug, title=title, status=status, detail=detail)
    return Response(_encode(problem) + b"\n", status, headers, PROBLEM)


def _plain(detail: str) -> str:
    """In the characters that RFC 6749 §5.2 allows a description."""
    quoted = detail.replace('"', "'").replace("\\", "/")
    return "".join(each if " " <= each <= "~" else "?" for each in quoted)
