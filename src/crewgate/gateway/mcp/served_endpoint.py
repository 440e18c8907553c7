"""An MCP endpoint as the way of a call uses it."""

from typing import NamedTuple

from crewgate._datapath.grant_cache import GrantCache
from crewgate.config import CORSConfig
from crewgate.core import problem_types
from crewgate.core.mcp.refusals import MCPProblemFormat
from crewgate.core.mcp.rpc_errors import bad_query
from crewgate.core.problem_types import ProblemType
from crewgate.core.sealed_ids import CallIds, IdOwner
from crewgate.core.tokens.grant import Grant
from crewgate.gateway.cors import is_from_allowed_page
from crewgate.gateway.endpoint import PathRewriter
from crewgate.gateway.mcp.endpoint import MCPEndpoint
from crewgate.gateway.mcp.judged_message import JudgedMessage
from crewgate.gateway.mcp.judging import UnservedMessageError, judge, judge_bodyless
from crewgate.server.request import Request


class Caller(NamedTuple):
    """The ids of a caller are sealed for `owner`; callers with one `scope` may use the same."""

    owner: IdOwner
    scope: tuple[str, ...]


class ServedMCPEndpoint:
    """Judges the requests of one endpoint; an `Endpoint`."""

    def __init__(self, endpoint: MCPEndpoint) -> None:
        self._endpoint = endpoint
        self._http_methods = endpoint.http_methods
        self._callers = GrantCache(self._caller_of)

    @property
    def name(self) -> str:
        """The name of the endpoint."""
        return self._endpoint.name

    def problem_format_of(self, _request: Request) -> MCPProblemFormat:
        """Return how problems of a request are written, before it is judged."""
        return self._endpoint.problem_format

    def http_problem(self, request: Request, cors: CORSConfig | None) -> ProblemType | None:
        """Return why the endpoint takes such a request from no caller; None if it takes it."""
        if request.method not in self._http_methods:
            return problem_types.NO_STREAM
        return None if is_from_allowed_page(cors, request) else problem_types.ORIGIN_NOT_ALLOWED

    def judge(
        self, request: Request, body: bytes, grant: Grant, _path_of: PathRewriter
    ) -> JudgedMessage:
        """Return what a request of the branch of `grant` uses.

        Raises:
            UnservedRequestError: The endpoint does not serve the request.
        """
        if request.query and not self._endpoint.config.forward_query:
            raise UnservedMessageError(bad_query().error, self._endpoint.problem_format)
        owner, scope = self._callers.of(grant)
        ids = CallIds(self._endpoint.sealer, owner)
        if request.method == b"POST":
            return judge(self._endpoint, request.headers, body, ids, scope)
        return judge_bodyless(self._endpoint, request.method, request.headers, ids)

    def _caller_of(self, grant: Grant) -> Caller:
        scope = (grant.crew, *grant.claims.allowed_tools)
        return Caller(self._endpoint.owner_of(grant), scope)

    def metric_name(self, part_id: str, grant: Grant) -> str:
        """Return the name in the metrics of a part that has no number of its own."""
        return self._endpoint.metric_name(part_id, grant)
