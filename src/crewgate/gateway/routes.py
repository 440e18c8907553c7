"""The route table of one configuration: the router, and what a call of each tool needs.

A reload makes a new table; calls in flight keep the one that they began with. A table has the
credentials of the upstreams, and never shows them.
"""

from collections.abc import Iterator, Mapping

import msgspec
from msgspec import structs

from crewgate._native.bearer import TokenFinder
from crewgate._native.fields import written
from crewgate.config import (
    A2AConfig,
    Config,
    MCPConfig,
    MCPGroupConfig,
    ToolConfig,
    route_builder,
)
from crewgate.config.judged_tools import judged_tools
from crewgate.config.route_builder import Served, ServedRoute
from crewgate.core import protected_resource
from crewgate.core.a2a import service_parameters
from crewgate.core.http_types import HeaderField
from crewgate.core.mcp.message_rules import REPEATED, SESSION
from crewgate.core.policy.rewriting import RewriteChecker
from crewgate.core.policy.routing import Router
from crewgate.core.sealed_ids import IdSealer
from crewgate.gateway.a2a.endpoint import compile_endpoint as compile_agent
from crewgate.gateway.a2a.served_endpoint import ServedA2AEndpoint
from crewgate.gateway.endpoint import Endpoint
from crewgate.gateway.headers import rules
from crewgate.gateway.mcp.endpoint import compile_endpoint
from crewgate.gateway.mcp.served_endpoint import ServedMCPEndpoint
from crewgate.gateway.mcp_group.group import GroupMember, MCPGroup
from crewgate.gateway.tool_route import ToolRoute
from crewgate.policy import certificate_token_signer
from crewgate.policy.argument_rules_loader import load_argument_rules
from crewgate.policy.certificate_token_signer import CertificateTokenSigner
from crewgate.upstream.credential import read_credential
from crewgate.upstream.pool import UpstreamPool


class RouteTable(msgspec.Struct, frozen=True):
    """The tools that are served, and how requests find them.

    `tokens` looks in the token carriers of all tools. `crossings` sign a token for a call that has
    a client certificate only. `serves_models`: some tool has the API of a language model.
    `trace_sample` is the share of calls without a trace that start one. `endpoints` has the path of
    each endpoint by the path of its metadata. `groups` are by their names. `straight`: compiled
    code may carry calls alone (`_datapath/straight_routes`), and pass on the bodies of responses.
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
    groups: Mapping[str, MCPGroup] = {}
    straight: bool = True

    def literal_routes(self, host: bytes | None) -> Iterator[tuple[bytes, bytes, ToolRoute]]:
        """Yield the method, path and tool of each literal route at a host, as `find` finds it.

        `host` is what the router's `host` returns. Yields nothing if no call may be straight.
        """
        for (given, path), index in self.router.literal_routes(host).items():
            entry = self.entries[index]
            for method in (given, b"HEAD") if given == b"GET" else (given,):
                if self.straight and self._serves(index, method, entry.path_of(path)):
                    yield method, path, entry

    def _serves(self, index: int, method: bytes, path: bytes) -> bool:
        """Return whether the tool's server routes `path`, a path there, to that tool."""
        return index not in self.servers.tools or self.servers.agree(index, method, path)

    def metadata_of(self, path: bytes, authority: bytes) -> bytes | None:
        """Return the protected resource metadata at a path (RFC 9728); None if there is none.

        That of an endpoint names the URL that the client called, as MCP clients check.
        """
        endpoint = self.endpoints.get(path)
        if endpoint is not None and self.router.find(b"POST", endpoint.encode(), authority) >= 0:
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
        return entry if self._serves(index, method, entry.path_of(path)) else None


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
    maker = _RouteMaker(config, pools, sealer)
    entries = tuple(maker.entry(each) for each in maker.routes)
    issuers = tuple(crew.issuer for crew in config.crews)
    return RouteTable(
        route_builder.router(config),
        route_builder.servers(config),
        entries,
        TokenFinder({carrier.encode() for carrier in maker.carriers} | {b"authorization"}),
        protected_resource.document(config.audience, issuers),
        crossings,
        any(entry.serves_models for entry in entries),
        config.traces.sample,
        {protected_resource.endpoint_path(path).encode(): path for path in _paths(config)},
        issuers,
        maker.groups,
        config.limits.straight,
    )


_GRPC = ".grpc"  # at the end of the label of such a route
# Fields that the gateway writes anew for an endpoint, or that its answers must not depend on.
_REPEATED = {
    MCPConfig: REPEATED,
    A2AConfig: service_parameters.REPEATED
    | {b"grpc-accept-encoding", b"grpc-encoding", b"if-modified-since", b"if-none-match"}
    | {b"last-event-id"},
}
# Fields of the server of an endpoint that only the gateway may send.
_HIDDEN: Mapping[type, frozenset[bytes]] = {MCPConfig: frozenset({SESSION})}


class _RouteMaker:
    """Makes the routes of one configuration."""

    def __init__(
        self, config: Config, pools: dict[str, UpstreamPool], sealer: IdSealer | None
    ) -> None:
        self.routes = route_builder.served_routes(config)
        self.carriers = sorted({name for each in self.routes for name in each.config.carriers})
        self._config = config
        self._pools = pools
        self._sealer = sealer
        self._credentials = {each.name: read_credential(each) for each in config.upstreams}
        self._numbers = {tool.name: at for at, tool in enumerate(judged_tools(config))}
        self._rules = load_argument_rules(config)
        self._endpoints = {} if sealer is None else self._made_endpoints(sealer)
        self.groups: dict[str, MCPGroup] = {}

    def entry(self, route: ServedRoute) -> ToolRoute:
        """Return the route of a tool, of an endpoint or of a group."""
        if route.group is not None and self._sealer is not None:
            return self._group_entry(route.group, self._sealer)
        served = route.config
        endpoint = None if isinstance(served, ToolConfig) else self._endpoints.get(served.name)
        return self._entry(route.label, served, endpoint)

    def _group_entry(self, config: MCPGroupConfig, sealer: IdSealer) -> ToolRoute:
        """Return the route of a group, made from that of its first endpoint."""
        group = self.groups.get(config.name)
        if group is None:
            group = self.groups[config.name] = self._group(config, sealer)
        first = group.members[0]
        # Before a request is judged, this endpoint speaks for all.
        revisions = {each.endpoint.config.revisions for each in group.members}
        every = structs.replace(
            first.endpoint.config, revisions="both" if len(revisions) > 1 else revisions.pop()
        )
        spokesman = structs.replace(
            first.endpoint, config=every, problem_format=group.problem_format
        )
        entry = structs.replace(first.route, endpoint=ServedMCPEndpoint(spokesman))
        return structs.replace(entry, name=group.name, server_name=group.name, is_group=True)

    def _group(self, config: MCPGroupConfig, sealer: IdSealer) -> MCPGroup:
        members = []
        for served in self._config.members_of(config):
            endpoint = compile_endpoint(served, self._numbers, sealer, self._rules)
            label = f"mcp_group.{config.name}"
            route = self._entry(label, served, ServedMCPEndpoint(endpoint))
            members.append(GroupMember(endpoint, route))
        scopes = " ".join(each.endpoint.problem_format.scope for each in members)
        form = structs.replace(members[0].endpoint.problem_format, scope=scopes)
        return MCPGroup(config.name, tuple(members), form, sealer)

    def _entry(self, label: str, served: Served, endpoint: Endpoint | None) -> ToolRoute:
        pool, credential = self._pools[served.upstream], self._credentials[served.upstream]
        own = _own("" if endpoint is not None else served.name, credential)
        rewrite = route_builder.rewrite(self._config, served)
        reads_answer = served.tariff is not None and served.tariff.reads_answer
        return ToolRoute(
            self._numbers[served.name],
            served.name,
            served.owner,
            pool,
            rules(
                carriers=self.carriers,
                allow=served.allow_fields,
                credential=credential,
                reads_answer=endpoint is not None or reads_answer,
                repeated=_REPEATED.get(type(served), ()),
                hidden=_HIDDEN.get(type(served), ()),
            ),
            TokenFinder(carrier.encode() for carrier in served.carriers),
            isinstance(served, ToolConfig) and served.decide_on == "body",
            own,
            written(own),
            "2" if pool.upstream.protocol == "h2" else "1.1",
            served.cors,
            served.body_bytes_max,
            None if endpoint is not None else served.tariff,
            None if rewrite.is_plain else rewrite,
            endpoint,
            f"{served.name}{_GRPC}" if label.endswith(_GRPC) else served.name,
        )

    def _made_endpoints(self, sealer: IdSealer) -> dict[str, Endpoint]:
        config, numbers = self._config, self._numbers
        return {
            **{
                each.name: ServedMCPEndpoint(compile_endpoint(each, numbers, sealer, self._rules))
                for each in config.mcp
            },
            **{
                each.name: ServedA2AEndpoint(compile_agent(each, numbers, sealer))
                for each in config.a2a
            },
        }


def _paths(config: Config) -> Iterator[str]:
    """Yield the paths at which clients of endpoints connect."""
    yield from (endpoint.path for endpoint in config.mcp)
    yield from (group.path for group in config.mcp_groups)
    yield from (agent.path for agent in config.a2a)


def _own(tool: str, credential: HeaderField | None) -> tuple[HeaderField, ...]:
    named = ((b"x-crewgate-tool", tool.encode()),) if tool else ()
    return named if credential is None else (*named, credential)
