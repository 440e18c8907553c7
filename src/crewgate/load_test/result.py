"""The result of a step: times and statuses of its answers, and the requests without an answer."""

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
SUCCESS = range(200, 300)  # statuses


@dataclass
class StepResult:
    """The answers of one step.

    `times` are in milliseconds, one for each answer. `lost` requests ended with their stream or
    connection. `unanswered` ones were still open when the client stopped waiting. `unsent` ones
    were due at the fixed rate, but no stream was free for them. `client_share` is the part of a
    core that the client used; 0 if it is not known.
    """

    name: str
    rate: float
    seconds: float = 0.0
    times: "array[float]" = field(default_factory=lambda: array("d"))
    statuses: Counter[int] = field(default_factory=Counter)
    lost: int = 0
    unanswered: int = 0
    unsent: int = 0
    client_share: float = 0.0

    @property
    def per_second(self) -> float:
        """Answers a second."""
        return len(self.times) / self.seconds if self.seconds else 0.0

    @property
    def successes(self) -> int:
        """Requests that were answered with 2xx."""
        return sum(count for status, count in self.statuses.items() if status in SUCCESS)

    @property
    def others(self) -> int:
        """Requests that were not answered with 2xx."""
        return len(self.times) - self.successes + self.lost + self.unanswered

    def percentiles(self) -> dict[str, float]:
        """Return the percentiles of `times` in milliseconds; empty if there was no answer."""
        ordered = sorted(self.times)
        if not ordered:
            return {}
        return {name: _percentile(ordered, share) for name, share in PERCENTILES.items()}

    def document(self) -> dict[str, Any]:
        """Return the step for JSON."""
        return {
            "name": self.name,
            "rate": self.rate,
            "seconds": round(self.seconds, 6),
            "answers": len(self.times),
            "per_second": round(self.per_second, 1),
            "milliseconds": {name: round(ms, 3) for name, ms in self.percentiles().items()},
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "lost": self.lost,
            "unanswered": self.unanswered,
            "unsent": self.unsent,
            "client_core_share": round(self.client_share, 3),
        }


def _percentile(ordered: Sequence[float], share: float) -> float:
    """Return the least value that at least this share of the values does not exceed."""
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]
