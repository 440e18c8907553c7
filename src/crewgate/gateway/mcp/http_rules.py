"""The HTTP requests that an MCP endpoint takes from no caller: wrong methods, foreign pages."""

from crewgate.config import CORSConfig
from crewgate.core import problem_types
from crewgate.core.problem_types import ProblemType
from crewgate.gateway.cors import is_from_allowed_page
from crewgate.gateway.mcp.endpoint import MCPEndpoint
from crewgate.server.request import Request


def http_problem(
    endpoint: MCPEndpoint, request: Request, cors: CORSConfig | None
) -> ProblemType | None:
    """Return why an endpoint does not take a request; None if it does."""
    if request.method not in endpoint.http_methods:
        return problem_types.NO_STREAM
    if not is_from_allowed_page(cors, request):
        return problem_types.ORIGIN_NOT_ALLOWED
    return None
