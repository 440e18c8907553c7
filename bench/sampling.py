"""Interleaved sampling: every case of a group is timed once a round, A B C A B C.

What slows the machine for a while slows all cases of that while, so ratios are taken within a
round and their median is reported. Times are wall clock; a case's batch is a fraction of a
scheduler's time slice, so that most batches run undisturbed even on a shared machine. Knows
nothing of what it measures.
"""

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

WARMING_ROUNDS = 2


@dataclass
class Case:
    """One thing to measure; `batch` performs some calls and says how many.

    `lead` performs one that is not measured, so that no case pays for fetching its code from
    behind what ran before it.
    """

    name: str
    batch: Callable[[], int]
    lead: Callable[[], object] = lambda: None
    nanoseconds: list[float] = field(default_factory=list)

    def sample(self) -> None:
        """Time one batch."""
        self.lead()
        start = time.perf_counter_ns()
        calls = self.batch()
        self.nanoseconds.append((time.perf_counter_ns() - start) / calls)


@dataclass(frozen=True)
class Spread:
    """Median and tenth and ninetieth percentile of a list of measurements."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        """Of at least two values."""
        tenths = statistics.quantiles(values, n=10, method="inclusive")
        return cls(tenths[0], statistics.median(values), tenths[-1])


@dataclass(frozen=True)
class Result:
    """A case's cost in microseconds a call, and its ratio to another case's, round by round."""

    name: str
    microseconds: Spread
    least_microseconds: float
    reference: str | None
    ratio: Spread | None

    @property
    def per_second(self) -> float:
        """Calls a second of one thread, at the median."""
        return 1e6 / self.microseconds.median


@dataclass(frozen=True)
class Group:
    """Cases that were measured in the same rounds."""

    title: str
    results: tuple[Result, ...]

    def get(self, name: str) -> Result | None:
        """The result of that name, if the group has it."""
        return next((result for result in self.results if result.name == name), None)


def measure(
    title: str, cases: list[Case], rounds: int, reference: str | dict[str, str] = ""
) -> Group:
    """Sample all cases in turn, `rounds` times after some that do not count.

    `reference` names the case that all others are compared with, or for each case its own.
    """
    gc.collect()
    gc.freeze()  # the world's own objects; the collector stays on for what the calls make
    for turn in range(rounds + WARMING_ROUNDS):
        for case in cases:
            if turn == WARMING_ROUNDS:
                case.nanoseconds.clear()
            case.sample()
    gc.unfreeze()
    by_name = {case.name: case for case in cases}
    if isinstance(reference, str):
        reference = {name: reference for name in by_name if reference and name != reference}
    return Group(title, tuple(result_of(case, by_name, reference) for case in cases))


def result_of(case: Case, by_name: dict[str, Case], references: dict[str, str]) -> Result:
    """Turn nanoseconds into a result."""
    micro = [value / 1e3 for value in case.nanoseconds]
    reference = references.get(case.name)
    ratio = None
    if reference is not None:
        pairs = zip(case.nanoseconds, by_name[reference].nanoseconds, strict=True)
        ratio = Spread.of([own / other for own, other in pairs])
    return Result(case.name, Spread.of(micro), min(micro), reference, ratio)
