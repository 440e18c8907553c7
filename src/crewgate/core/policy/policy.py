"""What a gate must know to judge: keys, crews' ceilings, tools and prices, under one generation.

Made from configuration and key files by the verifier; the gate compiles it into native arrays.
"""

import msgspec

from crewgate import limits

SHARED = "shared"


class VerificationKey(msgspec.Struct, frozen=True):
    """An Ed25519 public key (32 bytes, a valid point) and whom it may speak for."""

    kid: str
    crew: str
    public: bytes
    orchestrator: str | None = None


class CrewPolicy(msgspec.Struct, frozen=True):
    """A crew's ceilings; they hold whatever its key signs. Credits are micro-credits."""

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

    `stale_open`: it is called even while somebody may know revocations that this machine does not.
    """

    name: str
    price: int
    owner: str = SHARED
    observe: bool = False
    stale_open: bool = False


class Policy(msgspec.Struct, frozen=True):
    """One configuration generation; a tool's index in `tools` is what `Gate.decide` is given."""

    audience: str
    keys: tuple[VerificationKey, ...]
    crews: tuple[CrewPolicy, ...]
    tools: tuple[ToolPolicy, ...]
    generation: int = 1
