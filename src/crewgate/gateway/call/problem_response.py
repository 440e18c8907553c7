"""Answers an exchange with a problem document, in the form that its client understands."""

from crewgate.core import problem_types, protected_resource
from crewgate.core.problem_types import ProblemType
from crewgate.core.problems import refusal
from crewgate.core.verdict import Denial
from crewgate.errors import UpstreamError, UpstreamTimeoutError, UpstreamUnavailableError
from crewgate.gateway import cors
from crewgate.gateway.routes import RouteTable
from crewgate.server import Exchange, Request

METADATA_PATH = protected_resource.PATH.encode()


def respond_with_problem(
    exchange: Exchange,
    routes: RouteTable,
    kind: ProblemType,
    request_id: bytes,
    denial: Denial | None = None,
    scope: str = "",
) -> None:
    """Answer with problem `kind`; for gRPC, with trailers.

    `scope` is the name of the tool that a better token would have to allow.
    """
    asked = exchange.request
    status, headers, body = refusal(
        kind,
        request_id,
        denial,
        asked=asked.headers,
        metadata=b"https://%b%b" % (asked.authority, METADATA_PATH),
        scope=scope,
        for_models=_is_for_models(asked, routes),
    )
    exchange.respond(status, cors.shared_refusal(asked, routes.find, headers), body)


def upstream_problem(error: UpstreamError) -> ProblemType:
    """Return the problem that tells a client why there is no response."""
    if isinstance(error, UpstreamTimeoutError):
        return problem_types.UPSTREAM_TIMEOUT
    if isinstance(error, UpstreamUnavailableError):
        return problem_types.UPSTREAM_UNAVAILABLE
    return problem_types.UPSTREAM_FAILED


def _is_for_models(asked: Request, routes: RouteTable) -> bool:
    """Return whether the client expects the error format of a language model's API."""
    if not routes.serves_models:
        return False
    entry = routes.find(asked.method, asked.path, asked.authority)
    return entry is not None and entry.serves_models
