"""Answers an exchange with a problem document, in the form that its client understands."""

from msgspec import structs

from crewgate.core import problem_types, protected_resource
from crewgate.core.problem_types import ProblemType
from crewgate.core.problems import refusal
from crewgate.core.tokens.grant import Grant
from crewgate.core.verdict import Denial
from crewgate.errors import UnusableResponseError, UpstreamError, UpstreamTimeoutError
from crewgate.gateway import cors
from crewgate.gateway.routes import RouteTable
from crewgate.server.exchange import Exchange
from crewgate.server.request import Request

METADATA_PATH = protected_resource.PATH.encode()
_NOT_SENT_IN_TIME = (
    "No server of this tool took the call in time. The gateway sent nothing of it and charged "
    "nothing: a retry is safe."
)


def respond_with_problem(
    exchange: Exchange,
    routes: RouteTable,
    kind: ProblemType,
    request_id: bytes,
    denial: Denial | None = None,
    scope: str = "",
    grant: Grant | None = None,
    *,
    is_running: bool = False,
) -> None:
    """Answer with problem `kind`; for gRPC, with trailers.

    `scope` is the name of the tool that a better token would have to allow. `grant` is that of a
    good token, if there is no denial. `is_running`: the tool's server may have seen the call.
    """
    asked, form = exchange.request, exchange.problem_format
    if form is not None:
        status, headers, body = form.refusal(
            kind,
            request_id,
            denial,
            authority=asked.authority,
            grant=grant,
            is_running=is_running,
        )
        exchange.respond(status, cors.shared_refusal(asked, routes.find, headers), body)
        return
    status, headers, body = refusal(
        kind,
        request_id,
        denial,
        asked=asked.headers,
        metadata=b"https://%b%b" % (asked.authority, METADATA_PATH),
        scope=scope,
        for_models=is_for_models(asked, routes),
        grant=grant,
    )
    exchange.respond(status, cors.shared_refusal(asked, routes.find, headers), body)


def upstream_problem(error: UpstreamError, *, is_touched: bool) -> ProblemType:
    """Return the problem that tells a client why there is no response.

    `is_touched`: the tool's server may have seen the call.
    """
    if isinstance(error, UnusableResponseError):
        why = str(error)
        detail = f"{why[:1].upper()}{why[1:]}. The tool may have done its work."
        return structs.replace(problem_types.UPSTREAM_FAILED, detail=detail)
    if isinstance(error, UpstreamTimeoutError):
        kind = problem_types.UPSTREAM_TIMEOUT
        return kind if is_touched else structs.replace(kind, detail=_NOT_SENT_IN_TIME)
    return problem_types.UPSTREAM_FAILED if is_touched else problem_types.UPSTREAM_UNAVAILABLE


def is_for_models(asked: Request, routes: RouteTable) -> bool:
    """Return whether the client expects the error format of a language model's API."""
    if not routes.serves_models:
        return False
    entry = routes.find(asked.method, asked.path, asked.authority)
    return entry is not None and entry.serves_models
