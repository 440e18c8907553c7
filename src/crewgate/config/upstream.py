"""The tables [upstream.NAME]: servers, and how they are reached, verified and checked."""

from typing import Annotated, Literal

import msgspec

from crewgate import limits
from crewgate.config import values
from crewgate.config.declaration import FlattenedKeys, Key, Scope, TableSchema
from crewgate.config.secret_places import VARIABLE
from crewgate.config.toml_table_reader import TOMLTableReader
from crewgate.config.upstream_origin import UpstreamOrigin
from crewgate.config.values import FilePath, HostName

Reuse = Literal["shared", "crew", "branch"]
UpstreamProtocol = Literal["http/1.1", "h2"]  # the names of ALPN

Endpoints = Annotated[
    tuple[UpstreamOrigin, ...], values.listed(values.ORIGIN, limits.endpoints_max, min_count=1)
]
_THRESHOLD = values.integer(1, limits.health_threshold_max)


class CredentialConfig(msgspec.Struct, frozen=True):
    """The gateway's own credential for an upstream, read from a file or an environment variable."""

    header: Annotated[str, values.FIELD, "Header field that carries the credential."]
    prefix: Annotated[str, values.PREFIX, 'Text before the secret, such as "Bearer ".'] = ""
    file: Annotated[FilePath | None, "File that holds the secret."] = None
    env: Annotated[str | None, VARIABLE, "Environment variable that holds it."] = None

    def check(self, section: TOMLTableReader) -> None:
        """Note if there is not exactly one place for the secret."""
        if (self.file is None) == (self.env is None):
            section.problem("expected one of file and env, from which the secret is read")


class UpstreamTLS(msgspec.Struct, frozen=True):
    """How the gateway verifies the servers of an https upstream, and what it presents to them."""

    ca: Annotated[
        FilePath | None, "PEM file: the authorities to trust.", Key(absent="the system's")
    ] = None
    certificate: Annotated[
        FilePath | None, "PEM file: the certificate for servers that ask for one."
    ] = None
    key: Annotated[FilePath | None, "PEM file: its private key."] = None
    server_name: Annotated[
        HostName | None,
        "Name to ask for (SNI), and to verify in the server's certificate.",
        Key(absent="the endpoint's host"),
    ] = None

    def check(self, section: TOMLTableReader) -> None:
        """Note a certificate without its key, or a key without its certificate."""
        section.problem_unless_both("certificate", "key")


def _timeout(scope: Scope) -> float:
    interval: float = scope["interval_seconds"]
    return min(limits.health_timeout_seconds, interval)


class HealthCheckConfig(msgspec.Struct, frozen=True):
    """The active health check: each worker sends GET `path` to each server at an interval."""

    path: Annotated[
        str, values.TARGET, "Path to GET, without the credential; 200 to 399 is a good answer."
    ]
    interval_seconds: Annotated[
        float,
        values.seconds(limits.health_interval_seconds_max, limits.health_interval_seconds_min),
        "Time between requests of one worker to one server.",
    ] = limits.health_interval_seconds
    timeout_seconds: Annotated[
        float,
        values.seconds(limits.health_interval_seconds_max),
        "Longest wait for an answer.",
        Key(
            default=_timeout,
            absent=f"{limits.health_timeout_seconds:g}, or `interval_seconds` if that is less",
        ),
    ] = limits.health_timeout_seconds
    healthy: Annotated[int, _THRESHOLD, "Good answers in a row that bring a server back."] = (
        limits.health_healthy
    )
    unhealthy: Annotated[int, _THRESHOLD, "Bad answers in a row that take a server out."] = (
        limits.health_unhealthy
    )

    def check(self, section: TOMLTableReader) -> None:
        """Note a timeout that is longer than the interval."""
        if self.timeout_seconds > self.interval_seconds:
            section.problem(
                f"timeout_seconds ({self.timeout_seconds:g}) is over interval_seconds "
                f"({self.interval_seconds:g}), so requests would overlap; lower it"
            )


class _ServerKeys(msgspec.Struct, frozen=True):
    url: Annotated[
        tuple[UpstreamOrigin, str] | None,
        values.BASE_URL,
        "The server. If the URL has a path, the gateway writes it before the path of each tool.",
        Key(instead="endpoints"),
    ]
    endpoints: Annotated[
        Endpoints | None, "Several servers, in place of `url`.", Key(absent="`url`")
    ] = None

    def check(self, section: TOMLTableReader) -> None:
        """Note servers in two places, or with two schemes."""
        if self.url and self.endpoints:
            section.problem("expected one of url and endpoints; write a single server as either")
        if len({endpoint.scheme for endpoint in self.endpoints or ()}) > 1:
            section.problem("endpoints: some are http and some https; write an upstream for each")

    def build(self) -> dict[str, object]:
        """Return the servers, at least one, and the path of the URL."""
        origin, base = self.url or (None, "")
        return {"endpoints": self.endpoints or (origin,), "base": base}


class UpstreamConfig(msgspec.Struct, frozen=True):
    """The servers of one or more tools: at least one of `endpoints`, all with the same scheme.

    `base` goes before the path of each request; it does not end with a slash.
    """

    name: str
    endpoints: Annotated[tuple[UpstreamOrigin, ...], FlattenedKeys(of=TableSchema(_ServerKeys))]
    credential: Annotated[
        CredentialConfig | None, "The gateway's own credential; a client's is never passed on."
    ] = None
    protocol: Annotated[
        UpstreamProtocol, 'HTTP version: "h2" by ALPN over https, by prior knowledge over http.'
    ] = "http/1.1"
    tls: Annotated[
        UpstreamTLS, "Verification of https servers; chain and name are always verified."
    ] = UpstreamTLS()
    host: Annotated[
        str | None, values.HOST, "Host or :authority of requests.", Key(absent="the endpoint's own")
    ] = None
    connect_seconds: Annotated[
        float,
        values.seconds(limits.upstream_connect_seconds_max),
        "Longest time to connect: name, TCP and TLS together.",
    ] = limits.upstream_connect_seconds_max
    first_byte_seconds: Annotated[
        float,
        values.seconds(limits.upstream_first_byte_seconds_max),
        "Longest time from the end of a request to its answer.",
    ] = limits.upstream_first_byte_seconds_max
    idle_seconds: Annotated[
        float,
        values.seconds(limits.upstream_idle_seconds_max),
        "Longest time between two bytes of the request, or of the answer.",
    ] = limits.upstream_idle_seconds_max
    keep_seconds: Annotated[
        float,
        values.seconds(limits.upstream_keep_seconds_max),
        "Longest time without use before a connection is closed.",
    ] = limits.upstream_keep_seconds
    connections: Annotated[
        int,
        values.integer(1, limits.upstream_connections_max),
        "Connections of each worker to all servers, busy and idle together.",
    ] = limits.upstream_connections_default
    retry: Annotated[bool, "Repeat on another server a call that has reached none."] = True
    retry_share: Annotated[
        float, values.SHARE, "Retries as a share of the calls, beside 3 a second."
    ] = limits.upstream_retry_share
    reuse: Annotated[
        Reuse,
        "Calls that may follow one another on a connection: all, or those of one crew or branch.",
    ] = "shared"
    health: Annotated[
        HealthCheckConfig | None,
        "Requests that find out which servers work; without them, only calls find this out.",
    ] = None
    base: str = ""

    @property
    def origin(self) -> UpstreamOrigin:
        """The first endpoint."""
        return self.endpoints[0]

    @property
    def secure(self) -> bool:
        """Whether its servers speak TLS."""
        return self.origin.scheme == "https"

    def authority(self, endpoint: UpstreamOrigin) -> str:
        """Return Host or :authority for requests to `endpoint`."""
        return self.host or endpoint.authority

    def server_name(self, endpoint: UpstreamOrigin) -> str:
        """Return the DNS name or IP address that the certificate of `endpoint` must have.

        It has no final dot, since neither SNI (RFC 6066, section 3) nor certificates have one.
        """
        return (self.tls.server_name or endpoint.host).removesuffix(".")

    def check(self, section: TOMLTableReader) -> None:
        """Note `tls` for servers without TLS."""
        if "tls" in section.given and not self.secure:
            section.problem(
                "no effect, because the upstream's URL is http; write https, or remove tls", "tls"
            )
