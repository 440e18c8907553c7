"""The route of one tool: its number, its server, and how a call is authorized and forwarded."""

import msgspec

from crewgate._native.bearer import TokenFinder
from crewgate.config import CORSConfig
from crewgate.core.http_types import HeaderField
from crewgate.core.policy.rewriting import PathRewrite
from crewgate.core.pricing.tariff import Tariff
from crewgate.gateway.endpoint import Endpoint
from crewgate.gateway.headers import HeaderRules
from crewgate.upstream.pool import UpstreamPool


class ToolRoute(msgspec.Struct, frozen=True):
    """A tool: its number, name, owner and upstream, and how its calls are authorized and forwarded.

    `own` are the gateway's fields that all its calls carry (the tool's name and the credential);
    `lines` are the same as HTTP/1.1 header lines. `version` is the HTTP version of its server.
    `rewrite` is None if the path at the server is the path of the request. `endpoint` is set if the
    route leads to one; number and name are then those of the endpoint itself. `server_name` differs
    from `name` if the endpoint has two servers, and this is the second. `is_group`: the route
    leads to a group of this name, whose first endpoint this is.
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
    is_group: bool = False

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
