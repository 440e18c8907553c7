"""What a configuration file says, as frozen structs: the only form in which it is passed on.

Paths are absolute, credits are micro-credits, names are checked. Nothing here has been opened: a
key file that a struct names may be missing, and a secret is never held, only where it is found.
"""

from pathlib import Path
from typing import Literal

import msgspec

from crewgate import limits
from crewgate.core.policy import SHARED
from crewgate.errors import ConfigurationError

Mode = Literal["enforce", "observe"]
Judge = Literal["headers", "body"]
Scheme = Literal["http", "https"]
OnFull = Literal["refuse", "continue"]


class Listener(msgspec.Struct, frozen=True):
    """One TLS listener for agents; every worker opens it. No `hosts` means any Host is served."""

    name: str
    address: str  # an IP address, not a name
    port: int
    certificate: Path  # PEM: the leaf first, then what leads to the root
    key: Path
    mode: Mode = "enforce"
    hosts: tuple[str, ...] = ()

    @property
    def observe(self) -> bool:
        """Refuse only bad credentials and revocations on this listener."""
        return self.mode == "observe"


class Crew(msgspec.Struct, frozen=True):
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

    @property
    def observe(self) -> bool:
        """Refuse only bad credentials and revocations of this crew."""
        return self.mode == "observe"


class Credential(msgspec.Struct, frozen=True):
    """Where the gateway's own credential for an upstream is read from: a file or a variable."""

    header: str  # lower case
    prefix: str = ""
    file: Path | None = None
    env: str | None = None


class Origin(msgspec.Struct, frozen=True):
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


class Upstream(msgspec.Struct, frozen=True):
    """The server of one or more tools."""

    name: str
    origin: Origin
    credential: Credential | None = None


class Tool(msgspec.Struct, frozen=True):
    """A tool: its name, its route, its price in micro-credits, and how its calls are judged."""

    name: str
    method: str
    path: str
    upstream: str
    price: int
    owner: str = SHARED
    judge: Judge = "headers"
    mode: Mode = "enforce"
    carriers: tuple[str, ...] = ("authorization",)  # header fields that may hold the token
    allow_fields: tuple[str, ...] = ()  # request fields that pass although they look like tricks

    @property
    def observe(self) -> bool:
        """Refuse only bad credentials and revocations for this tool."""
        return self.mode == "observe"


class Audit(msgspec.Struct, frozen=True):
    """Where the audit files go, when they are rotated, and what a full disk means."""

    folder: Path
    rotate_bytes: int = limits.audit_rotate_bytes
    rotate_seconds: int = limits.audit_rotate_seconds
    keep_bytes: int | None = None  # delete the oldest files beyond that; None keeps them all
    on_full: OnFull = "refuse"


class Table(msgspec.Struct, frozen=True):
    """Capacities of the shared table, powers of two; all of it is allocated at creation."""

    branches: int = limits.table_branches_default
    revocations: int = limits.table_revocations_default
    reservations: int = limits.table_reservations_max


class Limits(msgspec.Struct, frozen=True):
    """Bounds of `limits.py` that the file may lower; each field has its bound's name.

    A field stands here only if some code asks the configuration for it.
    """

    credit_wait_seconds_max: float = limits.credit_wait_seconds_max


class Config(msgspec.Struct, frozen=True):
    """One configuration file. The order of `tools` is the order in the file; it numbers them."""

    path: Path
    audience: str
    state: Path
    workers: int
    drain_seconds: float
    listeners: tuple[Listener, ...]
    crews: tuple[Crew, ...]
    upstreams: tuple[Upstream, ...]
    tools: tuple[Tool, ...]
    audit: Audit
    table: Table
    limits: Limits

    def crew(self, name: str) -> Crew:
        """The crew of that name; ConfigurationError names those that exist."""
        for crew in self.crews:
            if crew.name == name:
                return crew
        known = ", ".join(crew.name for crew in self.crews) or "none"
        raise ConfigurationError(f"{self.path}: no crew {name!r}; the file has: {known}")

    def upstream(self, name: str) -> Upstream:
        """The upstream of that name; KeyError cannot happen for a tool's own (checked at load)."""
        return next(upstream for upstream in self.upstreams if upstream.name == name)
