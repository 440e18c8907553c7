"""An A2A endpoint as the way of a call uses it."""

from crewgate.config import CORSConfig
from crewgate.core.a2a.refusals import A2AProblemFormat
from crewgate.core.problem_types import ProblemType
from crewgate.core.tokens.grant import Grant
from crewgate.gateway.a2a.endpoint import A2AEndpoint
from crewgate.gateway.a2a.judging import JudgedA2ARequest, judge
from crewgate.gateway.endpoint import PathRewriter
from crewgate.server.request import Request


class ServedA2AEndpoint:
    """Judges the requests of one endpoint; an `Endpoint`."""

    def __init__(self, endpoint: A2AEndpoint) -> None:
        self._endpoint = endpoint

    @property
    def name(self) -> str:
        """The name of the endpoint."""
        return self._endpoint.name

    def problem_format_of(self, request: Request) -> A2AProblemFormat:
        """Return how problems of a request are written, before it is judged."""
        return self._endpoint.problem_format_of(request)

    def http_problem(self, _request: Request, _cors: CORSConfig | None) -> ProblemType | None:
        """Return None: an A2A endpoint refuses no request before the gate has judged it."""
        return None

    def judge(
        self, request: Request, body: bytes, grant: Grant, path_of: PathRewriter
    ) -> JudgedA2ARequest:
        """Return what a request of the branch of `grant` uses.

        Raises:
            UnservedRequestError: The endpoint does not serve the request.
        """
        return judge(self._endpoint, request, body, grant, path_of)

    def metric_name(self, part_id: str, _grant: Grant) -> str:
        """Return the name in the metrics of a method: there are few."""
        return part_id
