"""Rates of counts that only grow, from what was read of them lately. It has no clock of its own."""

from collections import deque
from collections.abc import Hashable, Mapping
from typing import Generic, NamedTuple, TypeVar

from crewgate import limits

K = TypeVar("K", bound=Hashable)
_LEAST = 2  # readings: a rate is a difference


class Counts(NamedTuple):
    """Counts since some moment, or for each minute; `spent` are micro-credits."""

    spent: float = 0
    calls: float = 0
    refused: float = 0

    def plus(self, other: "Counts") -> "Counts":
        """Return the sums."""
        return Counts(
            self.spent + other.spent, self.calls + other.calls, self.refused + other.refused
        )

    def per_minute_since(self, other: "Counts", minutes: float) -> "Counts":
        """Return what has been added since, for each minute; 0 where it is less by now."""
        if self == other:
            return _NOTHING
        return Counts(
            max(0, self.spent - other.spent) / minutes,
            max(0, self.calls - other.calls) / minutes,
            max(0, self.refused - other.refused) / minutes,
        )


_NOTHING = Counts()


class RateWindow(Generic[K]):
    """The counts of the last `limits.top_rate_seconds`, at least of two readings."""

    def __init__(self, seconds: float = limits.top_rate_seconds) -> None:
        self._seconds = seconds
        self._readings: deque[tuple[float, Mapping[K, Counts]]] = deque()

    def add(self, at: float, counts: Mapping[K, Counts]) -> None:
        """Take what was read `at` some second, which is later than the last one."""
        self._readings.append((at, counts))
        while len(self._readings) > _LEAST and self._readings[1][0] <= at - self._seconds:
            self._readings.popleft()

    @property
    def seconds(self) -> float:
        """How long the time is that rates are about; 0 before the second reading."""
        return self._readings[-1][0] - self._readings[0][0] if self._readings else 0.0

    def per_minute(self) -> dict[K, Counts]:
        """Return the rates of what the newest reading has.

        Where a count has got less, its machine began anew, so the rate is 0 until the window is
        past that.
        """
        found: dict[K, Counts] = {}
        if not self._readings:
            return found
        at, newest = self._readings[-1]
        for key, counts in newest.items():
            before, first = next((then, old[key]) for then, old in self._readings if key in old)
            minutes = (at - before) / 60
            found[key] = counts.per_minute_since(first, minutes) if minutes else _NOTHING
        return found


class CallsSinceStart(Generic[K]):
    """Makes counts that only grow from counts that begin anew each minute.

    What was counted between the last reading of a minute and its end is lost: with a reading each
    second, at most a second of each minute.
    """

    def __init__(self) -> None:
        self._seen: dict[K, tuple[int, int, int]] = {}

    def add(self, counts: Mapping[K, tuple[int, int]]) -> dict[K, int]:
        """Take (minute, count) of each key, and return the calls since its first reading."""
        seen: dict[K, tuple[int, int, int]] = {}
        for key, (minute, count) in counts.items():
            then, before, total = self._seen.get(key, (minute, count, 0))
            # A minute may end during a reading, which then counts less than the one before.
            known = before if minute == then else 0
            seen[key] = minute, max(count, known), total + max(0, count - known)
        self._seen = seen
        return {key: total for key, (_, _, total) in seen.items()}
