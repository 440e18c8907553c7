"""What is measured and how it is summed up: samples of named figures, medians, ratios in a round.

Pure: knows neither gateways nor loads. A case is sampled once a round, beside all others of its
group; a ratio is taken within a round, and its median over the rounds.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bench.sampling import Spread

Sample = dict[str, float]  # by the name of a figure


@dataclass(frozen=True)
class Figure:
    """A column: its name in the document, its heading and form in a table.

    `ranged`: its least and most are shown too. `ratio`: the heading of Crewgate's over this one's.
    """

    name: str
    heading: str
    form: str
    ranged: bool = False
    ratio: str = ""


CPU = Figure("cpu_microseconds", "CPU µs", "{:.1f}", ranged=True, ratio="CPU ×")
RATE = Figure("per_second", "a second", "{:,.0f}", ratio="rate ×")
P50 = Figure("p50_milliseconds", "p50 ms", "{:.2f}")
P99 = Figure("p99_milliseconds", "p99 ms", "{:.2f}", ratio="p99 ×")
P999 = Figure("p999_milliseconds", "p99.9 ms", "{:.2f}")
# Of the first request of each stream, which waits for credit, for connections and for cold caches.
START_P99 = Figure("start_p99_milliseconds", "start p99", "{:.2f}")
START = Figure("start_milliseconds", "start ms", "{:.1f}")  # until all of them are answered
CORE = Figure("core_percent", "of a core %", "{:.0f}")
CONNECTED = Figure("connections", "connected", "{:.0f}")
OTHER = Figure("answered_otherwise", "not 200", "{:.0f}")
MEMORY = Figure("resident_megabytes", "resident MB", "{:.1f}")
USUAL = (CPU, RATE, P50, P99)


@dataclass
class Measured:
    """One gateway in one case, a sample a round."""

    case: str
    name: str
    samples: list[Sample] = field(default_factory=list)

    def spread(self, figure: Figure) -> Spread:
        """Least, median and most."""
        return over([sample[figure.name] for sample in self.samples])

    def ratio(self, figure: Figure, other: "Measured") -> Spread:
        """Own figure over the other's of the same round; KeyError if one has no such figure."""
        name = figure.name
        pairs = zip(self.samples, other.samples, strict=True)
        return over([own[name] / their[name] for own, their in pairs])


@dataclass(frozen=True)
class Case:
    """What is sampled in turn with others; `take` is told how many requests to send."""

    measured: Measured
    take: Callable[[int], Sample]


def over(values: Sequence[float]) -> Spread:
    """Least, median and most: of a few rounds, percentiles would say no more."""
    return Spread(min(values), statistics.median(values), max(values))


def percentile(ordered: Sequence[float], share: float) -> float:
    """The least value that at least this share of the values does not exceed (nearest rank)."""
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def times(milliseconds: Sequence[float]) -> Sample:
    """The percentiles of single requests."""
    ordered = sorted(milliseconds)
    shares = {P50: 0.5, P99: 0.99, P999: 0.999}
    return {figure.name: percentile(ordered, share) for figure, share in shares.items()}


def find(measured: Sequence[Measured], case: str, name: str) -> Measured | None:
    """The measurements of that gateway in that case, if it was there."""
    return next((each for each in measured if (each.case, each.name) == (case, name)), None)


def interleaved(cases: Sequence[Case], rounds: int, requests: int) -> list[Measured]:
    """All cases in turn, A B C A B C; a short round before them, to warm everything, is dropped."""
    for turn in range(-1, rounds):
        for case in cases:
            sample = case.take(requests if turn >= 0 else max(1, requests // 10))
            if turn >= 0:
                case.measured.samples.append(sample)
    return [case.measured for case in cases]
