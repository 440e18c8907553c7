"""The input of the minting watch: observed grants, the measures, and the rules of a crew."""

import enum
from collections.abc import Mapping
from typing import Final

import msgspec

from crewgate import limits
from crewgate.core.anomaly.baseline import MeasureScale, SensitivityLevel
from crewgate.core.anomaly.enforcement import EnforcementLevel


class MintingMeasure(enum.Enum):
    """What the watch counts for one orchestrator; the value is the name in the audit log.

    - `MINTS`: new branches in a minute, refused ones included
    - `FAN_OUT`: live children of one branch
    - `LIVE`: live branches
    - `DEPTH`: ancestors of a branch
    - `PATTERNS`, `TOOLS`: tool patterns of one grant, and the tools that they cover
    - `CREDITS`, `CREDITS_HOUR`: newly granted micro-credits in a minute, and in an hour
    - `PACE`, `EXTENSIONS`: extensions of one branch in an hour, and in all
    """

    MINTS = "mints-per-minute"
    FAN_OUT = "fan-out"
    LIVE = "live-branches"
    DEPTH = "depth"
    PATTERNS = "scope-patterns"
    TOOLS = "scope-tools"
    CREDITS = "micro-credits-per-minute"
    CREDITS_HOUR = "micro-credits-per-hour"
    PACE = "extensions-per-hour"
    EXTENSIONS = "extensions"


# The measures that have a baseline. `least` is what a small crew does on any day: a pipeline with a
# handful of sub-agents, a tree three deep, a token that is refreshed early, and twice.
SCALES: Final[Mapping[MintingMeasure, MeasureScale]] = {
    MintingMeasure.MINTS: MeasureScale(least=10),
    MintingMeasure.FAN_OUT: MeasureScale(least=10),
    MintingMeasure.LIVE: MeasureScale(least=20),
    MintingMeasure.DEPTH: MeasureScale(weight=0, least=3),
    MintingMeasure.PATTERNS: MeasureScale(weight=2, least=4),
    MintingMeasure.TOOLS: MeasureScale(weight=2, least=4),
    MintingMeasure.CREDITS: MeasureScale(),
    MintingMeasure.PACE: MeasureScale(least=12),
}


class WatchRules(msgspec.Struct, frozen=True):
    """The configuration of one crew's watch; a ceiling of None does not apply.

    `mode` is the highest level that the watch puts in force by itself. After `strikes` minutes over
    a limit, without `calm_seconds` between two of them, the watch quarantines an orchestrator for
    `quarantine_seconds`. `newcomers_per_minute` limits the crew's orchestrators that the watch has
    never seen; `credits_per_hour` is in micro-credits.
    """

    mode: EnforcementLevel = EnforcementLevel.OBSERVE
    sensitivity: SensitivityLevel = SensitivityLevel.NORMAL
    strikes: int = limits.watch_strikes
    calm_seconds: float = limits.watch_calm_seconds
    quarantine_seconds: int = limits.quarantine_seconds
    mints_per_minute: int | None = None
    newcomers_per_minute: int | None = None
    fan_out: int | None = None
    depth: int | None = None
    scope_patterns: int | None = None
    credits_per_hour: int | None = None
    extensions: int | None = None

    def ceiling(self, measure: MintingMeasure) -> int | None:
        """Return the configured maximum of a measure, which holds whatever is usual; or None."""
        name = _CEILINGS.get(measure)
        return None if name is None else getattr(self, name)


_CEILINGS: Final = {
    MintingMeasure.MINTS: "mints_per_minute",
    MintingMeasure.FAN_OUT: "fan_out",
    MintingMeasure.DEPTH: "depth",
    MintingMeasure.PATTERNS: "scope_patterns",
    MintingMeasure.CREDITS_HOUR: "credits_per_hour",
    MintingMeasure.EXTENSIONS: "extensions",
}


class ObservedGrant(msgspec.Struct, frozen=True, gc=False):
    """One grant that the agent or the token endpoint has seen; a repetition changes nothing.

    `orchestrator` is the grant's `client_id`, and `kid` the key that signed it. `branch` and
    `parent` are 16-byte table keys; `parent` is empty for a root. `depth` counts the ancestors,
    `patterns` the tool patterns, and `tools` the tools that they cover. `credits` are micro-credits
    that were not granted before; 0 for a child, whose credits are part of its root's. `iat` is
    when it was issued, and `seconds` its lifetime.

    `is_new`: it begins a branch, or wakes one whose last grant has expired; otherwise it extends a
    live branch. `grows`: it extends a live branch, and lets it or an ancestor spend more. `is_old`:
    it was minted before the watch could see it, so it does not count for rates. `at` is the wall
    time at which it was seen (whole seconds since the epoch).
    """

    crew: str
    orchestrator: str
    kid: str
    branch: bytes
    parent: bytes
    depth: int
    patterns: int
    tools: int
    credits: int
    iat: int
    seconds: float
    is_new: bool
    at: int
    grows: bool = False
    is_old: bool = False


class AnomalyFinding(msgspec.Struct, frozen=True):
    """One measure over its limit: `value` is above `limit`.

    `usual` is the baseline's value from which the limit comes; None for a configured ceiling.
    """

    measure: MintingMeasure
    value: int
    limit: int
    usual: int | None = None
