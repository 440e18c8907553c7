"""What a configuration file says, as frozen structs: the only form in which it is passed on.

Paths are absolute, credits are micro-credits, names are checked. Nothing here has been opened: a
key file that a struct names may be missing, and a secret is never held, only where it is found.
"""

from pathlib import Path
from typing import Literal

import msgspec

from crewgate import limits
from crewgate.config.ca import CAConfig, ControlConfig, RemoteCAConfig
from crewgate.config.cluster import ClusterConfig
from crewgate.config.crossing_model import CrossingConfig
from crewgate.config.ocsp import OCSPMode
from crewgate.core.anomaly.types import WatchRules
from crewgate.core.policy.policy import SHARED
from crewgate.core.pricing.tariff import Tariff
from crewgate.errors import ConfigurationError

Mode = Literal["enforce", "observe"]
DecideOn = Literal["headers", "body"]
Scheme = Literal["http", "https"]
WhenStale = Literal["closed", "open"]
OnFull = Literal["refuse", "continue"]
AuditSync = Literal["second", "each", "never"]
Durability = Literal["single", "synchronous", "trusted"]  # what is asked of a ledger's server
ClientCertificate = Literal["none", "optional", "required"]
Reuse = Literal["shared", "crew", "branch"]  # whose calls follow each other on a connection
UpstreamProtocol = Literal[
    "http/1.1", "h2"
]  # how an upstream is spoken to; the names are those of ALPN


class ListenerConfig(msgspec.Struct, frozen=True):
    """One TLS listener for agents; every worker opens it. No `hosts` means any Host is served.

    `crews` are those whose certificates it admits; None: of every crew that is configured.
    """

    name: str
    address: str  # an IP address, not a name
    port: int
    certificate: Path  # PEM: the leaf first, then what leads to the root
    key: Path
    mode: Mode = "enforce"
    hosts: tuple[str, ...] = ()
    client_certificate: ClientCertificate = "none"
    crews: tuple[str, ...] | None = None
    ocsp: OCSPMode = "off"

    @property
    def observe(self) -> bool:
        """Refuse only bad credentials and revocations on this listener."""
        return self.mode == "observe"


class CrewConfig(msgspec.Struct, frozen=True):
    """A crew: where its keys are and what they can grant at most. Credits are micro-credits."""

    name: str
    issuer: str
    jwks: Path
    tools: tuple[str, ...]
    signing_key: Path | None = None  # PEM, PKCS 8, Ed25519; only issuers on this machine have one
    credits_per_branch: int = limits.quota_micro_max
    credits_per_hour: int = limits.quota_micro_max
    credits_per_day: int = limits.quota_micro_max
    live_branches: int = limits.table_branches_max
    new_branches_per_minute: int = limits.table_branches_max
    live_revocations: int = limits.table_revocations_max
    lifetime_seconds: int = limits.token_lifetime_seconds_max
    depth: int = limits.depth_max
    mode: Mode = "enforce"
    watch: WatchRules = WatchRules()

    @property
    def observe(self) -> bool:
        """Refuse only bad credentials and revocations of this crew."""
        return self.mode == "observe"


class CredentialConfig(msgspec.Struct, frozen=True):
    """Where the gateway's own credential for an upstream is read from: a file or a variable."""

    header: str  # lower case
    prefix: str = ""
    file: Path | None = None
    env: str | None = None


class UpstreamOrigin(msgspec.Struct, frozen=True):
    """Scheme, host and port of a server (RFC 6454)."""

    scheme: Scheme
    host: str  # a name or an IP address, without brackets
    port: int

    @property
    def authority(self) -> str:
        """What the Host field of a request to it says (RFC 9110, section 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        standard = {"http": 80, "https": 443}[self.scheme]
        return host if self.port == standard else f"{host}:{self.port}"


class UpstreamTLS(msgspec.Struct, frozen=True):
    """How the servers of an https upstream are verified, and what they are shown.

    Chain and name are always verified. `ca` is a PEM bundle that is trusted instead of the
    system's; `certificate` (PEM, chain included) and `key` are there both or not at all.
    `server_name` is asked for (SNI) and verified instead of the endpoint's host.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    server_name: str | None = None


class HealthCheckConfig(msgspec.Struct, frozen=True):
    """Active health: each worker asks each server for GET `path` every `interval_seconds`.

    A status from 200 to 399 within `timeout_seconds` is a good answer; `healthy` good ones in a row
    end a server's exclusion, `unhealthy` bad ones begin it. The request carries no credential.
    """

    path: str
    interval_seconds: float = limits.health_interval_seconds
    timeout_seconds: float = limits.health_timeout_seconds
    healthy: int = limits.health_healthy
    unhealthy: int = limits.health_unhealthy


class UpstreamConfig(msgspec.Struct, frozen=True):
    """The servers of one or more tools. All `endpoints` have one scheme; there is at least one.

    `host` is what requests say in Host or :authority, if it is not the endpoint's own authority.
    `connections` are those of one worker to all the endpoints together, busy and idle.
    `retry_share` are the retries that may be made, as a share of the calls; `retry` = False: none.
    `reuse`: a connection carries the calls of everybody, of one crew, or of one branch.
    """

    name: str
    endpoints: tuple[UpstreamOrigin, ...]
    credential: CredentialConfig | None = None
    protocol: UpstreamProtocol = "http/1.1"
    tls: UpstreamTLS = UpstreamTLS()
    host: str | None = None
    connect_seconds: float = limits.upstream_connect_seconds_max  # name, TCP and TLS together
    first_byte_seconds: float = limits.upstream_first_byte_seconds_max  # from request to answer
    idle_seconds: float = limits.upstream_idle_seconds_max  # between two bytes of either
    connections: int = limits.upstream_connections_default
    retry: bool = True
    retry_share: float = limits.upstream_retry_share
    reuse: Reuse = "shared"
    health: HealthCheckConfig | None = None
    base: str = ""  # before the path of each request, without a last slash

    @property
    def origin(self) -> UpstreamOrigin:
        """The first endpoint."""
        return self.endpoints[0]

    @property
    def secure(self) -> bool:
        """Whether its servers are spoken to under TLS."""
        return self.origin.scheme == "https"

    def authority(self, endpoint: UpstreamOrigin) -> str:
        """What a request to `endpoint` says in Host or :authority."""
        return self.host or endpoint.authority

    def server_name(self, endpoint: UpstreamOrigin) -> str:
        """The DNS name or IP address that the certificate of `endpoint` must have.

        Without the dot of the root, which neither SNI (RFC 6066, section 3) nor certificates have.
        """
        return (self.tls.server_name or endpoint.host).removesuffix(".")


class CORSConfig(msgspec.Struct, frozen=True):
    """Which web pages may call a tool from a browser (the Fetch standard, "CORS protocol").

    `origins` are serialised as browsers send them, "https://app.example", or "*" for all;
    `headers`, in lower case, are the request fields that they may set.
    """

    origins: tuple[str, ...]
    headers: tuple[str, ...] = ("authorization", "content-type")
    max_age_seconds: int = limits.cors_max_age_seconds

    def allows(self, origin: str) -> bool:
        """Whether a page of `origin` may call, given as the Origin field has it."""
        return origin in self.origins or "*" in self.origins


class ToolConfig(msgspec.Struct, frozen=True):
    """A tool: its name, its route, its price, and how its calls are judged.

    `price` is in micro-credits; where there is a `tariff`, what a call costs at most.
    """

    name: str
    method: str
    path: str
    upstream: str
    price: int
    owner: str = SHARED
    decide_on: DecideOn = "headers"
    mode: Mode = "enforce"
    carriers: tuple[str, ...] = ("authorization",)  # header fields that may hold the token
    allow_fields: tuple[str, ...] = ()  # request fields that pass although they look like tricks
    body_bytes_max: int = limits.request_body_bytes_max  # of a request; a longer one is refused
    cors: CORSConfig | None = None  # None: no page of another origin may call
    tariff: Tariff | None = None  # None: each call costs its price
    when_stale: WhenStale = "closed"  # calls while this machine may lack the newest revocations
    hosts: tuple[str, ...] = ()  # where requests for it are sent; none: to any
    rewrite: str | None = None  # its path at the server, where that is another

    @property
    def observe(self) -> bool:
        """Refuse only bad credentials and revocations for this tool."""
        return self.mode == "observe"


class AuditConfig(msgspec.Struct, frozen=True):
    """Where the audit files go, when they are rotated, and what a full disk means."""

    folder: Path
    rotate_bytes: int = limits.audit_rotate_bytes
    rotate_seconds: int = limits.audit_rotate_seconds
    keep_bytes: int | None = None  # delete the oldest files beyond that; None keeps them all
    on_full: OnFull = "refuse"
    sync: AuditSync = "second"  # when the disk has a line: a power loss takes what it has not


class TableConfig(msgspec.Struct, frozen=True):
    """Capacities of the shared table, powers of two; all of it is allocated at creation."""

    branches: int = limits.table_branches_default
    revocations: int = limits.table_revocations_default
    reservations: int = limits.table_reservations_max


class LimitsConfig(msgspec.Struct, frozen=True):
    """Bounds of `limits` that the file may change; each field has the name of its largest value.

    A field stands here only if some code asks the configuration for it. `connections_max` is of one
    listener and worker; 0 is as many as descriptors allow.
    """

    credit_wait_seconds_max: float = limits.credit_wait_seconds
    connections_max: int = 0


class LedgerConfig(msgspec.Struct, frozen=True):
    """`file` is SQLite's; `url` and `password_file` are PostgreSQL's.

    `per_machine` says that somebody knows of other machines of this trust domain, on each of which
    a branch may spend its credits. While the ledger does not answer the machine lends itself at
    most `overdraft_micro_max` micro-credits.
    """

    engine: Literal["sqlite", "postgresql"]
    file: Path | None = None
    url: str = ""
    password_file: Path | None = None
    durability: Durability = "single"
    per_machine: bool = False
    overdraft_micro_max: int = 0

    def __str__(self) -> str:
        """Where it is, for people."""
        where = f"sqlite:{self.file}" if self.file else self.url.partition("?")[0]
        return f"{where}, for this machine alone" if self.per_machine else where


class Config(msgspec.Struct, frozen=True):
    """One configuration file. The order of `tools` is the order in the file; it numbers them."""

    path: Path
    audience: str
    state: Path
    workers: int
    drain_seconds: float
    listeners: tuple[ListenerConfig, ...]
    crews: tuple[CrewConfig, ...]
    upstreams: tuple[UpstreamConfig, ...]
    tools: tuple[ToolConfig, ...]
    audit: AuditConfig
    table: TableConfig
    limits: LimitsConfig
    ledger: LedgerConfig
    ca: CAConfig | None = None  # None: no listener asks for certificates of clients
    control: ControlConfig | None = None  # None: no control API
    cluster: ClusterConfig | None = (
        None  # None: no other machine is told of revocations, or tells any
    )
    crossings: tuple[CrossingConfig, ...] = ()
    name: str = ""  # of this machine; empty: its ledger knows it by one that it made itself

    @property
    def remote(self) -> RemoteCAConfig | None:
        """The control API that `[ca]` names, with the certificate that it is shown."""
        asked = self.ca.control if self.ca is not None else None
        if asked is None or asked.certificate is not None or self.cluster is None:
            return asked
        return RemoteCAConfig(asked.url, self.cluster.certificate, self.cluster.key)

    def crew(self, name: str) -> CrewConfig:
        """The crew of that name; ConfigurationError names those that exist."""
        for crew in self.crews:
            if crew.name == name:
                return crew
        known = ", ".join(crew.name for crew in self.crews) or "none"
        raise ConfigurationError(f"{self.path}: no crew {name!r}; the file has: {known}")

    def journal_of(self, orchestrator: str) -> Path:
        """Where this machine keeps the journal of an orchestrator, by its `client_id`."""
        return self.state / "issuer" / f"{orchestrator.replace('/', '+')}.jsonl"

    def upstream(self, name: str) -> UpstreamConfig:
        """The upstream of that name; KeyError cannot happen for a tool's own (checked at load)."""
        return next(upstream for upstream in self.upstreams if upstream.name == name)
