"""What a group is: cases that are sampled beside each other, their figures, the goals they hold."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.hop.arena import Arena
from bench.hop.figures import USUAL, Figure, Measured
from bench.report import Goal

Results = Sequence[Measured]


def none(results: Results) -> list[Goal]:
    """No goals."""
    del results
    return []


@dataclass(frozen=True)
class Group:
    """`rounds` and `requests` are its parts of what a run is asked for.

    `usual`: it is measured unless others are named.
    """

    name: str
    title: str
    measure: Callable[[Arena], list[Measured]]
    figures: tuple[Figure, ...] = USUAL
    goals: Callable[[Results], list[Goal]] = none
    rounds: float = 1.0
    requests: float = 1.0
    usual: bool = True

    def sizes(self, rounds: int, requests: int) -> tuple[int, int]:
        """Its own rounds, and requests of a sample."""
        return max(1, round(rounds * self.rounds)), max(1, round(requests * self.requests))
