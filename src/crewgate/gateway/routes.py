"""The route table of one configuration: the router, and what a call of each tool needs.

A reload makes a new table; calls in flight keep the one that they began with. A table has the
credentials of the upstreams, and never shows them.
"""

from collections.abc import Iterator, Mapping

import msgspec

from crewgate._native.bearer import TokenFinder
from crewgate._native.fields import written
from crewgate.config import A2AConfig, Config, CORSConfig, MCPConfig, ToolConfig, route_builder
from crewgate.config.judged_tools import judged_tools
from crewgate.core import protected_resource
from crewgate.core.a2a import service_parameters
from crewgate.core.http_types import HeaderField
from crewgate.core.mcp.message_rules import REPEATED
from crewgate.core.policy.rewriting import PathRewrite, RewriteChecker
from crewgate.core.policy.routing import Router
from crewgate.core.pricing.tariff import Tariff
from crewgate.core.sealed_ids import IdSealer
from crewgate.gateway.a2a.endpoint import compile_endpoint as compile_agent
from crewgate.gateway.a2a.served_endpoint import ServedA2AEndpoint
from crewgate.gateway.endpoint import Endpoint
from crewgate.gateway.headers import HeaderRules, rules
from crewgate.gateway.mcp.endpoint import compile_endpoint
from crewgate.gateway.mcp.served_endpoint import ServedMCPEndpoint
from crewgate.policy import certificate_token_signer
from crewgate.policy.argument_rules_loader import load_argument_rules
from crewgate.policy.certificate_token_signer import CertificateTokenSigner
from crewgate.upstream.credential import read_credential
from crewgate.upstream.pool import UpstreamPool


class ToolRoute(msgspec.Struct, frozen=True):
    """A tool: its number, name, owner and upstream, and how its calls are authorized and forwarded.

    `own` are the gateway's fields that all its calls carry (the tool's name and the credential);
    `lines` are the same as HTTP/1.1 header lines. `version` is the HTTP version of its server.
    `rewrite` is None if the path at the server is the path of the request. `endpoint` is set if the
    route leads to one; number and name are then those of the endpoint itself. `server_name` differs
    from `name` if the endpoint has two servers, and this is the second.
    """

    index: int
    name: str
    owner: str
    pool: UpstreamPool
    fields: HeaderRules
    tokens: TokenFinder
    decides_on_body: bool
    own: tuple[HeaderField, ...]
    lines: bytes
    version: str
    cors: CORSConfig | None
    body_bytes_max: int
    tariff: Tariff | None = None
    rewrite: PathRewrite | None = None
    endpoint: Endpoint | None = None
    server_name: str = ""

    @property
    def reads_body(self) -> bool:
        """Whether a call is authorized or priced with its body, or the beginning of it."""
        return self.decides_on_body or self.reads_whole_body

    @property
    def reads_whole_body(self) -> bool:
        """Whether the whole body is kept, because the call is judged or priced by it."""
        return self.endpoint is not None or (self.tariff is not None and self.tariff.reads_body)

    @property
    def serves_models(self) -> bool:
        """Whether its server has the API of a language model."""
        return self.tariff is not None and self.tariff.usage is not None

    @property
    def is_http2(self) -> bool:
        """Whether the gateway uses HTTP/2 with its server."""
        return self.version == "2"

    def path_of(self, path: bytes) -> bytes:
        """Return the path at the server for the path of a request, percent-encoded as it came."""
        return path if self.rewrite is None else self.rewrite(path)

    def __repr__(self) -> str:
        """Omit the fields, which may hold a credential."""
        return f"<ToolRoute {self.index} {self.name}>"


class RouteTable(msgspec.Struct, frozen=True):
    """The tools that are served, and how requests find them.

    `tokens` looks in the token carriers of all tools. `crossings` sign a token for a call that has
    a client certificate only. `serves_models`: some tool has the API of a language model.
    `trace_sample` is the share of calls without a trace that start one. `endpoints` has the path of
    each endpoint by the path of its metadata.
    """

    router: Router
    servers: RewriteChecker
    entries: tuple[ToolRoute, ...]
    tokens: TokenFinder
    metadata: bytes
    crossings: CertificateTokenSigner = certificate_token_signer.NONE
    serves_models: bool = False
    trace_sample: float = 0.0
    endpoints: Mapping[bytes, str] = {}
    issuers: tuple[str, ...] = ()

    def metadata_of(self, path: bytes, authority: bytes) -> bytes | None:
        """Return the protected resource metadata at a path (RFC 9728); None if there is none.

        That of an endpoint names the URL that the client called, as MCP clients check.
        """
        endpoint = self.endpoints.get(path)
        if endpoint is not None:
            resource = f"https://{authority.decode()}{endpoint}"
            return protected_resource.document(resource, self.issuers)
        return self.metadata if path == protected_resource.PATH.encode() else None

    def find(self, method: bytes, path: bytes, authority: bytes) -> ToolRoute | None:
        """Return the tool of a request to a host; None if there is none.

        Also None if the tool's server would route the forwarded path to another tool.
        """
        index = self.router.find(method, path, authority)
        if index < 0:
            return None
        entry = self.entries[index]
        if index in self.servers.tools and not self.servers.agree(
            index, method, entry.path_of(path)
        ):
            return None
        return entry


def build(
    config: Config,
    pools: dict[str, UpstreamPool],
    crossings: CertificateTokenSigner = certificate_token_signer.NONE,
    sealer: IdSealer | None = None,
) -> RouteTable:
    """Make a route table; `pools` are by the names of the upstreams.

    `sealer` is needed if there are endpoints.

    Raises ConfigurationError if a credential or a schema cannot be read.
    """
    routes = route_builder.served_routes(config)
    carriers = sorted({carrier for route in routes for carrier in route.config.carriers})
    credentials = {upstream.name: read_credential(upstream) for upstream in config.upstreams}
    numbers = {tool.name: number for number, tool in enumerate(judged_tools(config))}
    endpoints = {} if sealer is None else _endpoints(config, numbers, sealer)
    entries = tuple(
        ToolRoute(
            numbers[served.name],
            served.name,
            served.owner,
            pools[served.upstream],
            rules(
                carriers=carriers,
                allow=served.allow_fields,
                credential=credentials[served.upstream],
                reads_answer=endpoint is not None
                or (served.tariff is not None and served.tariff.reads_answer),
                repeated=_REPEATED.get(type(served), ()),
            ),
            TokenFinder(carrier.encode() for carrier in served.carriers),
            isinstance(served, ToolConfig) and served.decide_on == "body",
            own := _own("" if endpoint is not None else served.name, credentials[served.upstream]),
            written(own),
            "2" if pools[served.upstream].upstream.protocol == "h2" else "1.1",
            served.cors,
            served.body_bytes_max,
            None if endpoint is not None else served.tariff,
            None if (rewrite := route_builder.rewrite(config, served)).is_plain else rewrite,
            endpoint,
            f"{served.name}{_GRPC}" if label.endswith(_GRPC) else served.name,
        )
        for label, served, endpoint in (
            (
                route.label,
                route.config,
                None if isinstance(route.config, ToolConfig) else endpoints.get(route.config.name),
            )
            for route in routes
        )
    )
    issuers = tuple(crew.issuer for crew in config.crews)
    return RouteTable(
        route_builder.router(config),
        route_builder.servers(config),
        entries,
        TokenFinder({carrier.encode() for carrier in carriers} | {b"authorization"}),
        protected_resource.document(config.audience, issuers),
        crossings,
        any(entry.serves_models for entry in entries),
        config.traces.sample,
        {protected_resource.endpoint_path(path).encode(): path for path in _paths(config)},
        issuers,
    )


_GRPC = ".grpc"  # at the end of the label of such a route
# Fields that the gateway writes anew for an endpoint, or that its answers must not depend on.
_REPEATED = {
    MCPConfig: REPEATED,
    A2AConfig: service_parameters.REPEATED
    | {b"grpc-accept-encoding", b"grpc-encoding", b"if-modified-since", b"if-none-match"}
    | {b"last-event-id"},
}


def _paths(config: Config) -> Iterator[str]:
    """Yield the paths at which clients of endpoints connect."""
    yield from (endpoint.path for endpoint in config.mcp)
    yield from (agent.path for agent in config.a2a)


def _endpoints(config: Config, numbers: Mapping[str, int], sealer: IdSealer) -> dict[str, Endpoint]:
    rules_by_tool = load_argument_rules(config)
    return {
        **{
            each.name: ServedMCPEndpoint(compile_endpoint(each, numbers, sealer, rules_by_tool))
            for each in config.mcp
        },
        **{
            each.name: ServedA2AEndpoint(compile_agent(each, numbers, sealer))
            for each in config.a2a
        },
    }


def _own(tool: str, credential: HeaderField | None) -> tuple[HeaderField, ...]:
    named = ((b"x-crewgate-tool", tool.encode()),) if tool else ()
    return named if credential is None else (*named, credential)
