"""Makes the control API's error responses: problem documents (RFC 9457) or OAuth errors.

An error of the agent, of the CA or of a file is reported only as such, without a path of this
machine; the log has the rest.
"""

import msgspec
from starlette.responses import Response

from crewgate.api.schemas import OAuthProblem, Problem
from crewgate.core import problem_types
from crewgate.core.problem_types import PROBLEMS
from crewgate.errors import (
    CAError,
    ConfigurationError,
    ControlError,
    CrewgateError,
    IssuerError,
    ServiceConnectionError,
    ServiceRefusedError,
    TableError,
)

_encode = msgspec.json.Encoder().encode
PROBLEM = "application/problem+json"
OAUTH_PATHS = frozenset({"/v1/tokens", "/v1/introspect"})
_SERVER_ERROR = 500


def control_error(error: CrewgateError) -> ControlError:
    """Return the error that the caller gets for an error of the backend."""
    if isinstance(error, ControlError):
        return error
    if isinstance(error, ServiceRefusedError | IssuerError):
        return problem_types.REFUSED.error(str(error))
    if isinstance(error, ServiceConnectionError | TableError):
        return problem_types.AGENT_UNAVAILABLE.error()
    if isinstance(error, CAError):
        return problem_types.AUTHORITY_UNAVAILABLE.error()
    if isinstance(error, ConfigurationError):
        return problem_types.CONFIGURATION_UNUSABLE.error()
    return problem_types.INTERNAL_ERROR.error()


def is_ours(error: ControlError) -> bool:
    """Return whether it is a server error, which the log should explain."""
    return error.status >= _SERVER_ERROR


def response(path: str, error: ControlError) -> Response:
    """Return the error response to a request for `path`."""
    problem, status, detail = PROBLEMS[error.slug], error.status, str(error)
    headers = {"cache-control": "no-store"}
    if problem.retry_seconds:
        headers["retry-after"] = str(problem.retry_seconds)
    if path in OAUTH_PATHS and not is_ours(error):
        answer = OAuthProblem(
            error=problem.oauth_error, error_description=_ascii(detail), type=problem.uri
        )
        return Response(_encode(answer), status, headers, "application/json")
    document = Problem(type=problem.uri, title=problem.title, status=status, detail=detail)
    return Response(_encode(document) + b"\n", status, headers, PROBLEM)


def _ascii(detail: str) -> str:
    """Return a text in the characters that RFC 6749, section 5.2, allows in a description."""
    quoted = detail.replace('"', "'").replace("\\", "/")
    return "".join(each if " " <= each <= "~" else "?" for each in quoted)
