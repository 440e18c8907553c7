"""One configuration as a worker uses it: the router, and for each tool what a call needs.

A reload makes a new site; calls in flight keep the one they began with. Reads the upstreams'
credentials, which are never shown again.
"""

import os
from pathlib import Path

import msgspec

from crewgate._native.bearer import TokenFinder
from crewgate._native.fields import written
from crewgate.config import Config, CORSConfig, CredentialConfig, UpstreamConfig, routes
from crewgate.core import protected_resource
from crewgate.core.http import HeaderField
from crewgate.core.policy.rewriting import PathRewrite, UpstreamRouteIndex
from crewgate.core.policy.routing import Router
from crewgate.core.pricing.tariff import Tariff
from crewgate.errors import ConfigurationError
from crewgate.gateway.headers import HeaderRules, rules
from crewgate.policy import certificate_tokens
from crewgate.policy.certificate_tokens import CertificateTokens
from crewgate.upstream import UpstreamPool


class ToolRoute(msgspec.Struct, frozen=True):
    """A tool: its number, name, owner, upstream, and how its calls are judged and dressed.

    `own` are the gateway's fields that all its calls carry, the tool and the credential, `lines`
    the same as HTTP/1.1 writes them.
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
    version: str  # of the HTTP that its server speaks
    cors: CORSConfig | None
    body_bytes_max: int
    tariff: Tariff | None = None
    rewrite: PathRewrite | None = None  # None: its path at the server is the one that was asked for

    @property
    def reads_body(self) -> bool:
        """Whether a call is judged with its body, or the first of it."""
        return self.decides_on_body or (self.tariff is not None and self.tariff.reads_body)

    @property
    def serves_models(self) -> bool:
        """Whether its server speaks to clients of language models."""
        return self.tariff is not None and self.tariff.usage is not None

    @property
    def is_http2(self) -> bool:
        """Whether its server is given HTTP/2."""
        return self.version == "2"

    def path_of(self, path: bytes) -> bytes:
        """The path at the server of one that was asked for, as it was sent."""
        return path if self.rewrite is None else self.rewrite(path)

    def __repr__(self) -> str:
        """Without the fields, which may hold a credential."""
        return f"<ToolRoute {self.index} {self.name}>"


class RouteTable(msgspec.Struct, frozen=True):
    """What is served. `tokens` looks in the carriers of all tools.

    `crossings` say what a call without a token is judged by.
    """

    router: Router
    servers: UpstreamRouteIndex
    entries: tuple[ToolRoute, ...]
    tokens: TokenFinder
    metadata: bytes
    crossings: CertificateTokens = certificate_tokens.NONE
    serves_models: bool = False  # one of the tools does

    def find(self, method: bytes, path: bytes, authority: bytes) -> ToolRoute | None:
        """Return the tool of a request to a host, None if there is none.

        None too where its server would take what is forwarded for another tool's.
        """
        index = self.router.find(method, path, authority)
        if index < 0:
            return None
        entry = self.entries[index]
        return entry if self.servers.agree(index, method, entry.path_of(path)) else None


def build(
    config: Config,
    pools: dict[str, UpstreamPool],
    crossings: CertificateTokens = certificate_tokens.NONE,
) -> RouteTable:
    """Make a site; `pools` are those of the upstreams by name. ConfigurationError."""
    carriers = sorted({carrier for tool in config.tools for carrier in tool.carriers})
    credentials = {upstream.name: read_credential(upstream) for upstream in config.upstreams}
    entries = tuple(
        ToolRoute(
            index,
            tool.name,
            tool.owner,
            pools[tool.upstream],
            rules(
                carriers=carriers,
                allow=tool.allow_fields,
                credential=credentials[tool.upstream],
                reads_answer=tool.tariff is not None and tool.tariff.reads_answer,
            ),
            TokenFinder(carrier.encode() for carrier in tool.carriers),
            tool.decide_on == "body",
            own := _own(tool.name, credentials[tool.upstream]),
            written(own),
            "2" if pools[tool.upstream].upstream.protocol == "h2" else "1.1",
            tool.cors,
            tool.body_bytes_max,
            tool.tariff,
            None if (way := routes.rewrite(config, tool)).is_plain else way,
        )
        for index, tool in enumerate(config.tools)
    )
    return RouteTable(
        routes.router(config),
        routes.servers(config),
        entries,
        TokenFinder({carrier.encode() for carrier in carriers} | {b"authorization"}),
        protected_resource.document(config.audience, (crew.issuer for crew in config.crews)),
        crossings,
        any(entry.serves_models for entry in entries),
    )


def _own(tool: str, credential: HeaderField | None) -> tuple[HeaderField, ...]:
    named = (b"x-crewgate-tool", tool.encode())
    return (named,) if credential is None else (named, credential)


def read_credential(upstream: UpstreamConfig) -> HeaderField | None:
    """Return the field that the gateway shows to an upstream. ConfigurationError says where."""
    credential = upstream.credential
    if credential is None:
        return None
    value = credential.prefix + _secret(upstream.name, credential)
    if not value.isascii() or not value.isprintable():
        raise ConfigurationError(
            f"upstream {upstream.name}: the credential in {_place(credential)} is not printable "
            "ASCII; a header field cannot carry it"
        )
    return credential.header.encode(), value.encode()


def _secret(name: str, credential: CredentialConfig) -> str:
    try:
        if credential.file is not None:
            value = Path(credential.file).read_text(encoding="utf-8").strip()
        else:
            value = os.environ.get(credential.env or "", "").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"upstream {name}: the credential in {_place(credential)} cannot be read: {error}"
        ) from error
    if not value:
        raise ConfigurationError(
            f"upstream {name}: there is no credential in {_place(credential)}; put it there"
        )
    return value


def _place(credential: CredentialConfig) -> str:
    return f"file {credential.file}" if credential.file else f"variable {credential.env}"
