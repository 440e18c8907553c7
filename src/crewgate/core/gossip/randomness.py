"""Random choices for the protocol, from a source that the caller passes in."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")


class RandomSource(Protocol):
    """The random functions that the protocol needs, as `random.Random` has them; none is secret."""

    def sample(self, population: Sequence[T], k: int) -> list[T]:
        """Return `k` different items, in random order."""

    def uniform(self, a: float, b: float) -> float:
        """Return a number between `a` and `b`."""


def some(source: RandomSource, population: Sequence[T], count: int) -> list[T]:
    """Return `count` different items in random order; all if there are no more."""
    return source.sample(population, min(count, len(population)))
