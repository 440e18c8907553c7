"""The policy of a gate: keys, ceilings of crews, tools and prices, under one generation number.

`crewgate.policy` makes it from the configuration and the key files. The gate compiles it into
native arrays.
"""

from collections.abc import Mapping

import msgspec

from crewgate import limits
from crewgate.core.policy.call_limits import CallLimit
from crewgate.core.rules.rule import LoopRules

SHARED = "shared"


class VerificationKey(msgspec.Struct, frozen=True):
    """An Ed25519 public key, whose signatures a gateway accepts.

    Attributes:
        kid: The id of the key, as in the header of a token.
        crew: The name of the crew whose tokens the key may sign.
        public: The 32 bytes of the key, a valid point.
        orchestrator: The only `client_id` for which the key may sign; None for the whole crew.
    """

    kid: str
    crew: str
    public: bytes
    orchestrator: str | None = None


class Ceiling(msgspec.Struct, frozen=True):
    """The most that a token of one role, or of one orchestrator, can grant.

    It adds to the limits of the crew: a token must keep both. `label` names it for people, such as
    "role researcher of crew article". The other attributes are as in `CrewPolicy`.
    """

    label: str
    tools: tuple[str, ...] = ()
    quota_max: int = limits.quota_micro_max
    lifetime_seconds_max: int = limits.token_lifetime_seconds_max
    depth_max: int = limits.depth_max
    requires_binding: bool = False


class CrewPolicy(msgspec.Struct, frozen=True):
    """The limits of a crew, for every token that its keys sign.

    Gateways apply all limits but those of extensions. A `Minter` needs `name` and `issuer`, and
    checks `tools`, `quota_max`, `lifetime_seconds_max`, `depth_max`, `requires_binding`, `roles`
    and `orchestrators`. An `Orchestrator` also checks `extensions_max`, `extension_seconds_max` and
    `extension_micro_max`.

    Attributes:
        name: The name of the crew, as in the claim `crew`.
        issuer: The claim `iss` that tokens of the crew must have.
        tools: Names and patterns of the tools that tokens can grant: "search.web", "search.*".
        quota_max: Micro-credits that one branch can be granted.
        hourly_max: Micro-credits that the crew can spend in an hour.
        daily_max: Micro-credits that the crew can spend in a day.
        live_branches_max: Branches that are live at the same time.
        new_branches_per_minute_max: Branches that begin in a minute.
        live_revocations_max: Revocations of the crew that are in force at the same time.
        lifetime_seconds_max: The longest lifetime of a token, in seconds.
        depth_max: Levels of branches below a run.
        observe: Whether the crew is in observe mode: the gate refuses no call because the tool is
            not allowed, because of credits or of a limit on calls, or because the token names no
            key; all other refusals stay, and minters require no key. `Permit.observed_reason`
            says why the gate would have refused a call.
        requires_binding: Whether the gate refuses tokens that name no key (`cnf`).
        roles: The ceilings of roles, by the claim `agent_role`. If there are any, the gate refuses
            tokens of all other roles.
        orchestrators: The ceilings of orchestrators, by the claim `client_id`. An orchestrator that
            is not here has only the limits of the crew.
        extensions_max: Tokens of one branch after its first; None is no limit.
        extension_seconds_max: Seconds that a branch may live after the end of its first token; None
            is no limit.
        extension_micro_max: Micro-credits that a branch may have beyond those of its first token;
            None is no limit.
    """

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
    requires_binding: bool = False
    extensions_max: int | None = None
    extension_seconds_max: int | None = None
    extension_micro_max: int | None = None
    roles: Mapping[str, Ceiling] = {}
    orchestrators: Mapping[str, Ceiling] = {}

    @property
    def label(self) -> str:
        """The crew in messages for people."""
        return f"crew {self.name}"

    def permits_role(self, role: str) -> bool:
        """Return whether tokens may name this role."""
        return not self.roles or role in self.roles

    def ceilings(self, role: str, orchestrator: str) -> tuple["CrewPolicy | Ceiling", ...]:
        """Return all limits that a token must keep: the crew's, its role's, its orchestrator's."""
        found = self.roles.get(role), self.orchestrators.get(orchestrator)
        return self, *(each for each in found if each is not None)

    def branch_quota_max(self, orchestrator: str) -> int:
        """Return the micro-credits that any branch of an orchestrator can have."""
        ceiling = self.orchestrators.get(orchestrator)
        return self.quota_max if ceiling is None else min(self.quota_max, ceiling.quota_max)


class ToolPolicy(msgspec.Struct, frozen=True):
    """A tool as the gate sees it: a dotted name, a fixed price in micro-credits, an owner.

    `stale_open`: the gate admits its calls even while this machine may lack recent revocations.
    `is_endpoint`: its name is that of an endpoint, and calls name what they use there.
    `requires_binding`: the gate refuses tokens that name no key.
    """

    name: str
    price: int
    owner: str = SHARED
    observe: bool = False
    stale_open: bool = False
    is_endpoint: bool = False
    requires_binding: bool = False


class Policy(msgspec.Struct, frozen=True):
    """The policy of one configuration. `Gate.decide` names a tool by its index in `tools`."""

    audience: str
    keys: tuple[VerificationKey, ...]
    crews: tuple[CrewPolicy, ...]
    tools: tuple[ToolPolicy, ...]
    generation: int = 1
    loops: LoopRules = LoopRules()
    limits: tuple[CallLimit, ...] = ()
