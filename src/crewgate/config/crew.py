"""The tables [crew.NAME]: the keys of a crew, what they can grant, and how minting is watched."""

import re
from collections.abc import Iterator
from typing import Annotated

import msgspec

from crewgate import limits
from crewgate.config import values
from crewgate.config.declaration import Key, Scope, Table, TableMap, TableSchema
from crewgate.config.toml_table_reader import TOMLTableReader, ValueParser
from crewgate.config.values import Binding, Credits, FilePath, Mode
from crewgate.core.anomaly.baseline import SensitivityLevel
from crewgate.core.anomaly.enforcement import EnforcementLevel
from crewgate.core.anomaly.types import WatchRules
from crewgate.core.credits import format_credits
from crewgate.core.policy import scope

Branches = Annotated[int, values.integer(1, limits.table_branches_max)]
Tools = Annotated[tuple[str, ...], values.listed(values.TOOL_PATTERN, limits.allowed_tools_max)]
_SPONSOR = values.pattern_text(
    "a text of 1 to 128 printable ASCII characters", re.compile(r"[ -~]+", re.ASCII), 128
)
_UNBOUNDED = Key(absent="no limit")


def _ceiling(kind: ValueParser[int], text: str) -> Key:
    return Key(kind=kind, text=text, absent="no limit")


# The struct is in the core, which knows no configuration.
_WATCH = TableSchema(
    WatchRules,
    {
        "mode": Key(
            kind=values.member(EnforcementLevel),
            text="Strongest measure against an orchestrator that is over a limit.",
        ),
        "sensitivity": Key(
            kind=values.member(SensitivityLevel),
            text='Limit, in multiples of what is usual: "low" 16, "normal" 8, "high" 4.',
        ),
        "strikes": Key(
            kind=values.integer(1, limits.watch_strikes_max),
            text="Minutes over a limit that lead to a quarantine.",
        ),
        "calm_seconds": Key(
            kind=values.seconds(limits.watch_calm_seconds_max, limits.watch_calm_seconds_min),
            text="Strikes that are further apart do not add up; a throttle ends after this time "
            "without a strike.",
        ),
        "quarantine_seconds": Key(
            kind=values.integer(limits.quarantine_seconds_min, limits.quarantine_seconds_max),
            text="Length of a quarantine, unless a person lifts it.",
        ),
        "mints_per_minute": _ceiling(
            values.integer(1, limits.table_branches_max),
            "New branches of one orchestrator in a minute.",
        ),
        "newcomers_per_minute": _ceiling(
            values.integer(1, limits.watch_orchestrators_max),
            "Orchestrators that were never seen before, in a minute.",
        ),
        "fan_out": _ceiling(
            values.integer(1, limits.watch_branches_each_max - 1), "Live children of one branch."
        ),
        "depth": _ceiling(values.integer(0, limits.depth_max), "Levels of branches below a root."),
        "scope_patterns": _ceiling(
            values.integer(1, limits.allowed_tools_max), "Names and patterns of tools in one grant."
        ),
        "credits_per_hour": _ceiling(
            values.credits_up_to(limits.quota_micro_max),
            "Credits of one orchestrator in an hour, for new runs and for live runs that get more.",
        ),
        "extensions": _ceiling(
            values.integer(0, limits.watch_extensions_max),
            "Tokens of one branch after its first, in its whole life.",
        ),
    },
)


def _crews(key: str) -> Key:
    """Return the declaration of a key whose default is the value of the crew."""

    def value(found: Scope) -> object:
        return found[key]

    return Key(default=value, absent=f"the `{key}` of the crew")


class CeilingConfig(msgspec.Struct, frozen=True):
    """The most that tokens of one role, or of one orchestrator, can grant; within the crew's."""

    name: str
    tools: Annotated[
        Tools, "Tools that the tokens can grant, by name or pattern.", _crews("tools")
    ] = ()
    credits_per_branch: Annotated[
        Credits, "Credits that one branch can be granted.", _crews("credits_per_branch")
    ] = limits.quota_micro_max
    lifetime_seconds: Annotated[
        int,
        values.integer(1, limits.token_lifetime_seconds_max),
        "Longest life of a token.",
        _crews("lifetime_seconds"),
    ] = limits.token_lifetime_seconds_max
    depth: Annotated[
        int,
        values.integer(0, limits.depth_max),
        "Levels that a branch may be below its run.",
        _crews("depth"),
    ] = limits.depth_max
    binding: Annotated[Binding, values.BINDING_TEXT, _crews("binding")] = "optional"


class CrewConfig(msgspec.Struct, frozen=True):
    """A crew: where its keys are, and what they can grant. Credits are micro-credits."""

    name: str
    issuer: Annotated[str, values.CLAIM, "Value that the `iss` of its tokens must have."]
    jwks: Annotated[FilePath, "JWKS file: the crew's public keys. Processes load each change."]
    tools: Annotated[Tools, "Tools that its tokens can grant, by name or pattern."]
    signing_key: Annotated[
        FilePath | None, "PEM file: the Ed25519 key that signs tokens, if this machine mints."
    ] = None
    sponsor: Annotated[
        str,
        _SPONSOR,
        "Who answers for the crew: a person, a team, or an address. Introspection shows it.",
        Key(absent="unknown"),
    ] = ""
    credits_per_branch: Annotated[
        Credits, "Credits that one branch can be granted.", _UNBOUNDED
    ] = limits.quota_micro_max
    credits_per_hour: Annotated[
        Credits, "Credits that the crew can spend in an hour.", _UNBOUNDED
    ] = limits.quota_micro_max
    credits_per_day: Annotated[Credits, "Credits that the crew can spend in a day.", _UNBOUNDED] = (
        limits.quota_micro_max
    )
    live_branches: Annotated[Branches, "Branches that are live at the same time."] = (
        limits.table_branches_max
    )
    new_branches_per_minute: Annotated[Branches, "Branches that begin in a minute."] = (
        limits.table_branches_max
    )
    live_revocations: Annotated[
        int,
        values.integer(1, limits.table_revocations_max),
        "Revocations in force at the same time.",
    ] = limits.table_revocations_max
    lifetime_seconds: Annotated[
        int, values.integer(1, limits.token_lifetime_seconds_max), "Longest life of a token."
    ] = limits.token_lifetime_seconds_max
    depth: Annotated[
        int, values.integer(0, limits.depth_max), "Levels of branches below a run."
    ] = limits.depth_max
    extensions_max: Annotated[
        int | None,
        values.integer(0, limits.watch_extensions_max),
        "Tokens of one branch after its first. Each renewal is one.",
        _UNBOUNDED,
    ] = None
    extension_seconds_max: Annotated[
        int | None,
        values.integer(0, limits.branch_seconds_max),
        "Seconds that a branch can live after the end of its first token. Without this key, a "
        "sub-agent that asks for time gets it only from a callback.",
        _UNBOUNDED,
    ] = None
    extension_credits_max: Annotated[
        Credits | None,
        "Credits that a branch can get beyond those of its first token. Without this key, a "
        "sub-agent that asks for credits gets them only from a callback.",
        _UNBOUNDED,
    ] = None
    mode: Annotated[Mode, values.MODE_TEXT] = "enforce"
    binding: Annotated[Binding, values.BINDING_TEXT] = "optional"
    watch: Annotated[
        WatchRules, Table(of=_WATCH), "The watch over the crew's minting, and its limits."
    ] = WatchRules()
    roles: Annotated[
        tuple[CeilingConfig, ...],
        "A role that tokens may name, and its limits. If a crew has such tables, gateways refuse "
        "all other roles.",
        TableMap(name="role", max_count=limits.crew_ceilings_max, names=values.CLAIM),
    ] = ()
    orchestrators: Annotated[
        tuple[CeilingConfig, ...],
        "The limits of the orchestrator CREW/NAME. Orchestrators without a table have those of the "
        "crew.",
        TableMap(name="orchestrator", max_count=limits.crew_ceilings_max, names=values.CLAIM),
    ] = ()

    def check(self, section: TOMLTableReader) -> None:
        """Note each ceiling of a role or orchestrator that is above the crew's."""
        for kind, ceilings in (("role", self.roles), ("orchestrator", self.orchestrators)):
            for ceiling in ceilings:
                for text in self._above(ceiling):
                    section.problem(f'"{ceiling.name}": {text}', kind)

    def _above(self, ceiling: CeilingConfig) -> Iterator[str]:
        outside = [tool for tool in ceiling.tools if not scope.within([tool], self.tools)]
        if outside:
            yield f"tools: {outside[0]} is outside the tools of the crew"
        most = self.credits_per_branch
        if ceiling.credits_per_branch > most:
            yield f"credits_per_branch: the crew allows at most {format_credits(most)}"
        for key in ("lifetime_seconds", "depth"):
            if getattr(ceiling, key) > getattr(self, key):
                yield f"{key}: the crew allows at most {getattr(self, key)}"
        if ceiling.binding == "optional" and self.binding == "required":
            yield 'binding: the crew has "required"; leave it out'

    @property
    def observe(self) -> bool:
        """Whether `mode` is "observe"."""
        return self.mode == "observe"
