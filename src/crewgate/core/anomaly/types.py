"""What the minting watch goes by: grants as they are seen, what is measured of them, the bounds.

Frozen nouns only. Knows neither who saw a grant (the token endpoint, or the agent at its first use)
nor what is made of it.
"""

import enum
from collections.abc import Mapping
from typing import Final

import msgspec

from crewgate import limits
from crewgate.core.anomaly.baseline import MeasureScale, Sensitivity
from crewgate.core.anomaly.enforcement import EnforcementLevel


class MintingMeasure(enum.Enum):
    """What is counted of one orchestrator; the value is the audit's word."""

    MINTS = "mints-per-minute"  # new branches, those that were refused as well
    FAN_OUT = "fan-out"  # live children of one branch
    LIVE = "live-branches"
    DEPTH = "depth"
    PATTERNS = "scope-patterns"  # of one grant
    TOOLS = "scope-tools"  # that the patterns of one grant cover
    CREDITS = "micro-credits-per-minute"  # that were not granted before
    CREDITS_HOUR = "micro-credits-per-hour"
    PACE = "extensions-per-hour"  # of one branch
    EXTENSIONS = "extensions"  # of one branch, as long as it goes on


# Those that have a baseline. `least` is what a small crew does any day: a pipeline with a handful
# of sub-agents, a tree three deep, a token refreshed early and twice.
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
    """What one crew's configuration says; a ceiling that is None does not apply.

    `mode` is the highest level that is put in force by itself. `strikes` minutes out of bounds,
    with never `calm_seconds` between two, are a quarantine of `quarantine_seconds`.
    """

    mode: EnforcementLevel = EnforcementLevel.OBSERVE
    sensitivity: Sensitivity = Sensitivity.NORMAL
    strikes: int = limits.watch_strikes
    calm_seconds: float = limits.watch_calm_seconds
    quarantine_seconds: int = limits.quarantine_seconds
    mints_per_minute: int | None = None
    newcomers_per_minute: int | None = None  # orchestrators of the crew never seen before
    fan_out: int | None = None
    depth: int | None = None
    scope_patterns: int | None = None
    credits_per_hour: int | None = None  # micro-credits
    extensions: int | None = None

    def ceiling(self, measure: MintingMeasure) -> int | None:
        """The most that is allowed, whatever is usual."""
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
    """One grant, as whoever saw it tells of it; telling of it twice changes nothing.

    `orchestrator` is the grant's `client_id`, `kid` the key that signed it; `branch` and `parent`
    are 16-byte keys, `parent` empty for a root. `is_new`: it begins a branch, or wakes one whose
    last grant has ended; else it extends a live one. `credits` are micro-credits that were not
    granted before: a child's are part of its root's, so they are 0. `seconds` is how long it
    lives. `grows`: it extends a live branch and lets it, or what is above it, spend more. `is_old`:
    it was minted before whoever tells of it could know, so that it says nothing of a rate. `at` is
    the time of day at which it was seen, in whole seconds since 1970.
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
    """One measure that is out of bounds: `value` is above `limit`.

    `usual` is None where the limit is a fixed ceiling; else the limit was made from it.
    """

    measure: MintingMeasure
    value: int
    limit: int
    usual: int | None = None
