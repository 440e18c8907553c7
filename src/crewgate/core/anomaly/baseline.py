"""What is usual for one orchestrator in one measure, and from where on a value is unusual.

Values are compared as doublings (log2), so that a limit is a factor and a large crew is judged like
a small one. The baseline is an exponentially weighted mean and deviation of minutes in which
something happened. Four rules keep a patient attacker from teaching it that misuse is usual:

* a minute moves the mean by what lies within one deviation of it, however far off it was;
* the mean moves by at most one doubling a day, whatever the minutes say, up or down;
* the deviation is at most one doubling, so noise cannot widen the limit for ever;
* minutes of an orchestrator that stands above `observe` teach nothing (`minting_profile`).

So whoever grows faster than twofold a day leaves the limit behind: it is at most a few doublings
above a mean that follows by one a day. Whoever is slower, or was bad from the first minute, is for
the fixed ceilings. Knows no measures and no clock.
"""

import enum
import math
from typing import Final

import msgspec

_WARM: Final = 60  # minutes with something in them, before anything is called unusual
_WEIGHT: Final = 1 / 64  # of a minute: an hour of work is remembered, one burst is not
_RISE_PER_HOUR: Final = 1 / 24  # doublings: twofold a day
_HOUR: Final = 3600.0
_ROUNDING: Final = 1e-12  # of logarithms there and back
_DEVIATION_MAX: Final = 1.0  # doublings
_DEVIATION_MIN: Final = 0.25  # a mean that never varied still lets a minute teach a little


class Sensitivity(enum.Enum):
    """How far from usual is unusual; the value is the configuration's word."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


# At least so many doublings above the mean, and at least so many deviations.
_MARGINS: Final = {
    Sensitivity.LOW: (4.0, 6.0),
    Sensitivity.NORMAL: (3.0, 4.0),
    Sensitivity.HIGH: (2.0, 3.0),
}


class MeasureScale(msgspec.Struct, frozen=True):
    """How values of one measure are compared.

    `weight` doublings count as one: what varies little (a scope's breadth) has more than 1. 0 means
    that a value is compared as it stands (a depth). Up to `least` nothing is ever unusual.
    """

    weight: float = 1.0
    least: int = 0

    def of(self, value: int) -> float:
        """A value, never negative, on the scale."""
        return self.weight * math.log2(1 + value) if self.weight else float(value)

    def back(self, place: float) -> int:
        """The largest value that stands at `place` or below."""
        if not self.weight:
            return math.floor(place)
        return math.floor(2 ** min(place / self.weight, 62.0) * (1 + _ROUNDING)) - 1


class Baseline:
    """One measure of one orchestrator; `minutes` counts what it has learnt from."""

    __slots__ = ("deviation", "mean", "minutes")

    def __init__(self, mean: float = 0.0, deviation: float = 0.0, minutes: int = 0) -> None:
        self.mean = mean
        self.deviation = deviation
        self.minutes = minutes

    def __repr__(self) -> str:
        return f"<Baseline {self.mean:.2f} ± {self.deviation:.2f} of {self.minutes} minutes>"

    @property
    def is_warm(self) -> bool:
        """It has seen enough to call something unusual."""
        return self.minutes >= _WARM

    def limit(self, sensitivity: Sensitivity) -> float | None:
        """The place on the scale above which a value is unusual; None while it is not warm."""
        if not self.is_warm:
            return None
        least, deviations = _MARGINS[sensitivity]
        return self.mean + max(least, deviations * self.deviation)

    def fold(self, place: float, elapsed: float) -> None:
        """Learn from one minute's value, `elapsed` seconds after the last one."""
        if not self.is_warm:
            self._settle(place)
            return
        off = place - self.mean
        reach = max(self.deviation, _DEVIATION_MIN)
        most = _RISE_PER_HOUR * min(max(elapsed, 0.0), _HOUR) / _HOUR
        step = _WEIGHT * max(-reach, min(reach, off))
        self.mean += max(-most, min(most, step))
        spread = min(abs(off), _DEVIATION_MAX)
        self.deviation += _WEIGHT * (spread - self.deviation)

    def _settle(self, place: float) -> None:
        """While it is cold, every minute counts alike."""
        self.minutes += 1
        off = abs(place - self.mean) if self.minutes > 1 else 0.0
        self.mean += (place - self.mean) / self.minutes
        self.deviation += (min(off, _DEVIATION_MAX) - self.deviation) / self.minutes
