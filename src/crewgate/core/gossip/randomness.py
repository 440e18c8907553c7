"""The dice, which the core does not have: a seeded `random.Random` is one."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")


class RandomSource(Protocol):
    """What of randomness the protocol needs; none of it is a secret."""

    def sample(self, population: Sequence[T], k: int) -> list[T]:
        """`k` different ones."""

    def uniform(self, a: float, b: float) -> float:
        """Between `a` and `b`."""


def some(chance: RandomSource, population: Sequence[T], count: int) -> list[T]:
    """`count` different ones, or all, in no order, if there are no more."""
    return chance.sample(population, min(count, len(population)))
