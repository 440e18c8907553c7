"""Errors as the control API tells them: status, slug and words, as OAuth or as RFC 9457 has it.

What is ours, the agent, the CA, a file, is told as that, without a path of this machine; the log
has the rest. Knows no routes but those that speak OAuth.
"""

import msgspec
from starlette.responses import Response

from crewgate.api.schemas import OAuthProblem, Problem
from crewgate.core import problem_types
from crewgate.core.problem_types import PROBLEMS
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


def control_error(error: CrewgateError) -> ControlError:
    """What an error of the office is to the caller."""
    if isinstance(error, ControlError):
        return error
    if isinstance(error, RefusedError | IssuerError):
        return problem_types.REFUSED.error(str(error))
    if isinstance(error, LinkError | TableError):
        return problem_types.AGENT_UNAVAILABLE.error()
    if isinstance(error, AuthorityError):
        return problem_types.AUTHORITY_UNAVAILABLE.error()
    if isinstance(error, ConfigurationError):
        return problem_types.CONFIGURATION_UNUSABLE.error()
    return problem_types.INTERNAL_ERROR.error()


def is_ours(error: ControlError) -> bool:
    """Whether its log should tell a person more."""
    return error.status >= _SERVER_ERROR


def response(path: str, error: ControlError) -> Response:
    """The answer to a request for `path` that is refused."""
    problem, status, detail = PROBLEMS[error.slug], error.status, str(error)
    headers = {"cache-control": "no-store"}
    if problem.retry_seconds:
        headers["retry-after"] = str(problem.retry_seconds)
    if path in OAUTH_PATHS and not is_ours(error):
        body = _encode(OAuthProblem(error=problem.oauth_error, error_description=_plain(detail)))
        return Response(body, status, headers, "application/json")
    document = Problem(type=problem.uri, title=problem.title, status=status, detail=detail)
    return Response(_encode(document) + b"\n", status, headers, PROBLEM)


def _plain(detail: str) -> str:
    """In the characters that RFC 6749 §5.2 allows a description."""
    quoted = detail.replace('"', "'").replace("\\", "/")
    return "".join(each if " " <= each <= "~" else "?" for each in quoted)
