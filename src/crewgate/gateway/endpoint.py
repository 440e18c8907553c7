"""The parts of an endpoint that the way of a call needs; endpoints of MCP and of A2A have them."""

from collections.abc import Callable, Sequence
from typing import Protocol

from crewgate._native.permit import Permit
from crewgate.config import CORSConfig
from crewgate.core.http_types import HeaderField
from crewgate.core.mcp.pins.worker_pins import WorkerPins
from crewgate.core.pricing.tariff import Tariff
from crewgate.core.problem_types import ProblemType
from crewgate.core.problems import ProblemFormat, RefusalResponse
from crewgate.core.reasons import Reason
from crewgate.core.tokens.grant import Grant
from crewgate.errors import CrewgateError
from crewgate.gateway.call.response_rewriter import ResponseRewriter
from crewgate.gateway.upstream_work.registry import WorkRegistry
from crewgate.server.request import Request

# The path at the server for the path of a request.
PathRewriter = Callable[[bytes], bytes]


class JudgedRequest(Protocol):
    """A request to an endpoint, and the question to the gate about it."""

    @property
    def number(self) -> int:
        """The number of the tool for the gate."""

    @property
    def id(self) -> str:
        """The part that the request uses, such as "files.delete"; if none, the endpoint's name."""

    @property
    def names_part(self) -> bool:
        """Whether the gate compares `id` with the token, and not the name of the number."""

    @property
    def method(self) -> str:
        """The method of the protocol, for the audit."""

    @property
    def price(self) -> int:
        """Micro-credits; -1 for the fixed price of the tool."""

    @property
    def tariff(self) -> Tariff | None:
        """The tariff, if the price is not fixed."""

    @property
    def also(self) -> tuple[str, ...]:
        """Ids that the token must allow as well."""

    @property
    def body(self) -> bytes:
        """The bytes that go upstream."""

    @property
    def target(self) -> bytes | None:
        """The path and query at the server; None if they follow from those of the request."""

    @property
    def headers(self) -> Sequence[HeaderField]:
        """The fields that go upstream beside the client's."""

    @property
    def compared(self) -> bytes | None:
        """What makes two such requests equal, as JSON; None if the request may be repeated."""

    @property
    def problem_format(self) -> ProblemFormat:
        """How problems of this request are written."""

    @property
    def stays_open(self) -> bool:
        """Whether the response waits for changes at the server for as long as its client likes."""

    @property
    def outlives_client(self) -> bool:
        """Whether the call goes on if its client disconnects."""

    def refused_arguments(self) -> str | None:
        """Return why the arguments are not allowed, for the model; None if they are allowed."""

    def pin_refusal(self, pins: WorkerPins, /) -> Reason | None:
        """Return why a pin of the server's tools refuses the request; None if no pin does."""

    def budget_fields(self, permit: Permit, /) -> Sequence[HeaderField]:
        """Return the fields that say to the server what the branch may still spend."""

    def response(
        self, permit: Permit, registry: WorkRegistry, pins: WorkerPins, target: bytes, /
    ) -> ResponseRewriter | None:
        """Return what changes the response; None if it passes as it comes.

        `registry` remembers the work that runs on at the server, and `pins` its tools; `target` is
        the path of the request there.
        """


class Endpoint(Protocol):
    """An endpoint of one configuration."""

    @property
    def name(self) -> str:
        """The name of the endpoint."""

    def problem_format_of(self, request: Request, /) -> ProblemFormat:
        """Return how problems of a request are written, before it is judged."""

    def http_problem(self, request: Request, cors: CORSConfig | None, /) -> ProblemType | None:
        """Return why the endpoint takes such a request from no caller; None if it takes it."""

    def judge(
        self, request: Request, body: bytes, grant: Grant, path_of: PathRewriter, /
    ) -> JudgedRequest:
        """Return what a request of the branch of `grant` uses.

        Raises:
            UnservedRequestError: The endpoint does not serve the request.
        """

    def metric_name(self, part_id: str, grant: Grant, /) -> str:
        """Return the name in the metrics of a part that has no number of its own."""


class UnservedRequestError(CrewgateError):
    """The endpoint does not serve a request; `response` is what its client gets."""

    def __init__(self, why: str, response: RefusalResponse) -> None:
        super().__init__(why)
        self.response = response
