"""The `[crew.NAME.watch]` section: how a crew's minting is watched, and what is done about it.

Knows the keys and their defaults; what they mean is `core/anomaly/types`'s.
"""

from typing import Final

from crewgate import limits
from crewgate.config import values
from crewgate.config.section import Section, ValueType
from crewgate.core.anomaly.baseline import Sensitivity
from crewgate.core.anomaly.enforcement import EnforcementLevel
from crewgate.core.anomaly.types import WatchRules

_MODE: Final = values.one_of(*(level.value for level in EnforcementLevel))
_SENSITIVITY: Final = values.one_of(*(each.value for each in Sensitivity))
_CREDITS: Final = values.credits_up_to(limits.quota_micro_max)
_COUNTS: Final[dict[str, ValueType[int]]] = {
    "mints_per_minute": values.integer(1, limits.table_branches_max),
    "newcomers_per_minute": values.integer(1, limits.watch_orchestrators_max),
    "fan_out": values.integer(1, limits.watch_branches_each_max - 1),
    "depth": values.integer(0, limits.depth_max),
    "scope_patterns": values.integer(1, limits.allowed_tools_max),
    "credits_per_hour": _CREDITS,
    "extensions": values.integer(0, limits.watch_extensions_max),
}


def read_watch(section: Section | None) -> WatchRules:
    """The rules; a crew without the section is watched by its baselines, and nothing is done."""
    default = WatchRules()
    if section is None:
        return default
    mode = section.optional("mode", _MODE, default.mode.value)
    sensitivity = section.optional("sensitivity", _SENSITIVITY, default.sensitivity.value)
    strikes = values.integer(1, limits.watch_strikes_max)
    held = values.integer(limits.quarantine_seconds_min, limits.quarantine_seconds_max)
    calm = values.seconds(limits.watch_calm_seconds_max, limits.watch_calm_seconds_min)
    ceilings = {
        key: section.optional(key, kind, -1) for key, kind in _COUNTS.items()
    }  # -1: not given
    rules = WatchRules(
        mode=EnforcementLevel(mode),
        sensitivity=Sensitivity(sensitivity),
        strikes=section.optional("strikes", strikes, default.strikes),
        calm_seconds=section.optional("calm_seconds", calm, default.calm_seconds),
        quarantine_seconds=section.optional("quarantine_seconds", held, default.quarantine_seconds),
        **{key: None if most < 0 else most for key, most in ceilings.items()},
    )
    section.close()
    return rules
