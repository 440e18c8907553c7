"""Answers requests that are for the gateway itself: its metadata, and preflights of web pages."""

from crewgate.gateway import cors
from crewgate.gateway.call.problem_response import METADATA_PATH
from crewgate.gateway.call.undecided_call import ListenerPolicy
from crewgate.gateway.routes import RouteTable
from crewgate.server.exchange import Exchange


def answers_itself(exchange: Exchange, policy: ListenerPolicy, routes: RouteTable) -> bool:
    """Answer a request for the gateway's own metadata, or a CORS preflight; False for others."""
    request = exchange.request
    if not policy.serves(request.authority):
        return False
    if request.path.startswith(METADATA_PATH) and request.method in {b"GET", b"HEAD"}:
        found = routes.metadata_of(request.path, request.authority)
        if found is not None:
            exchange.respond(200, [(b"content-type", b"application/json")], found)
            return True
    if request.method == b"OPTIONS":
        allowed = cors.preflight(request, routes.find)
        if allowed is not None:
            exchange.respond(204, allowed)
            return True
    return False
