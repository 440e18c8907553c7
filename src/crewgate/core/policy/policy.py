"""The policy of a gate: keys, ceilings of crews, tools and prices, under one generation number.

`crewgate.policy` makes it from the configuration and the key files. The gate compiles it into
native arrays.
"""

import msgspec

from crewgate import limits

SHARED = "shared"


class VerificationKey(msgspec.Struct, frozen=True):
    """An Ed25519 public key (32 bytes, a valid point) of a crew, or of one of its orchestrators."""

    kid: str
    crew: str
    public: bytes
    orchestrator: str | None = None


class CrewPolicy(msgspec.Struct, frozen=True):
    """The ceilings of a crew, for every token that its keys sign. Credits are micro-credits."""

    name: str
    issuer: str
    tools: tuple[str, ...] = ()
    quota_max: int = limits.quota_micro_max
    hourly_max: int = limits.quota_micro_max
    daily_max: int = limits.quota_micro_max
    live_branches_max: int = limits.table_branches_max
    new_branches_per_minute_max: int = limits.table_branches_max
    live_revocations_max: int = limits.table_revocations_max
    lifetime_seconds_max: int = limits.token_lifetime_seconds_max
    depth_max: int = limits.depth_max
    observe: bool = False


class ToolPolicy(msgspec.Struct, frozen=True):
    """A tool as the gate sees it: a dotted name, a fixed price in micro-credits, an owner.

    `stale_open`: the gate admits its calls even while this machine may lack recent revocations.
    """

    name: str
    price: int
    owner: str = SHARED
    observe: bool = False
    stale_open: bool = False


class Policy(msgspec.Struct, frozen=True):
    """The policy of one configuration. `Gate.decide` names a tool by its index in `tools`."""

    audience: str
    keys: tuple[VerificationKey, ...]
    crews: tuple[CrewPolicy, ...]
    tools: tuple[ToolPolicy, ...]
    generation: int = 1
