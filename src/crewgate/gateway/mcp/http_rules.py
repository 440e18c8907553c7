"""Which HTTP requests an MCP endpoint takes at all, whoever sends them."""

from crewgate.core import problem_types
from crewgate.core.problem_types import ProblemType
from crewgate.gateway.cors import is_from_allowed_page
from crewgate.gateway.routes import ToolRoute
from crewgate.server.request import Request


def http_problem(entry: ToolRoute, request: Request) -> ProblemType | None:
    """Return why an endpoint does not take a request; None if it does, or if it is no endpoint."""
    endpoint = entry.mcp
    if endpoint is None:
        return None
    if request.method not in endpoint.http_methods:
        return problem_types.NO_STREAM
    if not is_from_allowed_page(entry.cors, request):
        return problem_types.ORIGIN_NOT_ALLOWED
    return None
