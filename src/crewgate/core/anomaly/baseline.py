"""Learns what is usual for one orchestrator in one measure, and which values are unusual.

Values are compared as doublings (log2), so that a limit is a factor, and a large crew is judged
like a small one. The baseline is an exponentially weighted mean and deviation of the minutes in
which something happened. The page docs/explanation/minting-watch.md has the rules that keep a
patient attacker from teaching it that misuse is usual. By these rules, an orchestrator that grows
faster than twofold a day exceeds the limit. The fixed ceilings are for one that grows more slowly,
or that misbehaves from its first minute.
"""

import enum
import math
from dataclasses import dataclass
from typing import Final

import msgspec

# Active minutes before any value counts as unusual.
_WARM: Final = 60
# The weight of one minute: the mean remembers an hour of work, but not one burst.
_WEIGHT: Final = 1 / 64
# The maximum change of the mean, in doublings: twofold a day.
_RISE_PER_HOUR: Final = 1 / 24
_HOUR: Final = 3600.0
# The relative error of a logarithm and its inverse.
_ROUNDING: Final = 1e-12
# Bounds of the deviation, in doublings. With the minimum, a mean that never varied can still move.
_DEVIATION_MAX: Final = 1.0
_DEVIATION_MIN: Final = 0.25


class SensitivityLevel(enum.Enum):
    """How far from the mean a value is unusual; the value is the one in the configuration."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


# The margin above the mean: at least so many doublings, and at least so many deviations.
_MARGINS: Final = {
    SensitivityLevel.LOW: (4.0, 6.0),
    SensitivityLevel.NORMAL: (3.0, 4.0),
    SensitivityLevel.HIGH: (2.0, 3.0),
}


class MeasureScale(msgspec.Struct, frozen=True):
    """How values of one measure are compared.

    A doubling counts `weight` times: a measure that varies little (the breadth of a scope) has more
    than 1. With 0, values are compared as they are (a depth). A value up to `least` is never
    unusual.
    """

    weight: float = 1.0
    least: int = 0

    def of(self, value: int) -> float:
        """Return a value (not negative) on the scale."""
        return self.weight * math.log2(1 + value) if self.weight else float(value)

    def back(self, scaled: float) -> int:
        """Return the largest value that is at most `scaled` on the scale."""
        if not self.weight:
            return math.floor(scaled)
        return math.floor(2 ** min(scaled / self.weight, 62.0) * (1 + _ROUNDING)) - 1


@dataclass(slots=True, eq=False)
class Baseline:
    """The baseline of one measure of one orchestrator; it has learned from `minutes` minutes."""

    mean: float = 0.0
    deviation: float = 0.0
    minutes: int = 0

    @property
    def is_warm(self) -> bool:
        """Whether it has learned enough to judge a value."""
        return self.minutes >= _WARM

    def limit(self, sensitivity: SensitivityLevel) -> float | None:
        """Return the scaled value above which a value is unusual; None while it is not warm."""
        if not self.is_warm:
            return None
        doublings, deviations = _MARGINS[sensitivity]
        return self.mean + max(doublings, deviations * self.deviation)

    def fold(self, scaled: float, elapsed: float) -> None:
        """Learn from one minute's scaled value, `elapsed` seconds after the last one."""
        if not self.is_warm:
            self._average(scaled)
            return
        off = scaled - self.mean
        off_max = max(self.deviation, _DEVIATION_MIN)
        step_max = _RISE_PER_HOUR * min(max(elapsed, 0.0), _HOUR) / _HOUR
        step = _WEIGHT * max(-off_max, min(off_max, off))
        self.mean += max(-step_max, min(step_max, step))
        spread = min(abs(off), _DEVIATION_MAX)
        self.deviation += _WEIGHT * (spread - self.deviation)

    def _average(self, scaled: float) -> None:
        """Learn while it is not warm: all minutes have the same weight."""
        self.minutes += 1
        off = abs(scaled - self.mean) if self.minutes > 1 else 0.0
        self.mean += (scaled - self.mean) / self.minutes
        self.deviation += (min(off, _DEVIATION_MAX) - self.deviation) / self.minutes
