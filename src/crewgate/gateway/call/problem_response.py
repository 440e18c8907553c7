"""Answers an exchange with a problem document, in the form that its client understands."""

from crewgate.core.verdict import Denial
from crewgate.gateway import cors, refusals
from crewgate.gateway.routes import RouteTable
from crewgate.server import Exchange, Request


def respond_with_problem(
    exchange: Exchange,
    routes: RouteTable,
    kind: refusals.ProblemType,
    request_id: bytes,
    denial: Denial | None = None,
    scope: str = "",
) -> None:
    """Answer with problem `kind`; for gRPC, with trailers.

    `scope` is the name of the tool that a better token would have to allow.
    """
    asked = exchange.request
    status, headers, body = refusals.refusal(
        kind,
        request_id,
        denial,
        authority=asked.authority,
        asked=asked.headers,
        scope=scope,
        for_models=_is_for_models(asked, routes),
    )
    exchange.respond(status, cors.shared_refusal(asked, routes.find, headers), body)


def _is_for_models(asked: Request, routes: RouteTable) -> bool:
    """Return whether the client expects the error format of a language model's API."""
    if not routes.serves_models:
        return False
    entry = routes.find(asked.method, asked.path, asked.authority)
    return entry is not None and entry.serves_models
