"""Sets of whole numbers from 1 as ranges: small while the numbers of a line are dense."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence

Range = tuple[int, int]  # the first number and the last


class IntervalSet:
    """A set of whole numbers from 1, made from the ranges that another member has sent."""

    __slots__ = ("_firsts", "_lasts")

    def __init__(self, ranges: Sequence[Range]) -> None:
        """ValueError if the ranges are not in order, with a gap between any two."""
        end = -1
        for first, last in ranges:
            if first <= end + 1 or first < 1 or last < first:
                raise ValueError(f"invalid range after {max(end, 0)}: {first} to {last}")
            end = last
        self._firsts = [first for first, _ in ranges]
        self._lasts = [last for _, last in ranges]

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._firsts, number) - 1
        return at >= 0 and number <= self._lasts[at]


def ranges_of(numbers: Iterable[int]) -> tuple[Range, ...]:
    """Return the ranges of different numbers from 1, which may be in any order."""
    ranges: list[Range] = []
    first = last = -1
    for number in sorted(numbers):
        if number != last + 1:
            if last > 0:
                ranges.append((first, last))
            first = number
        last = number
    if last > 0:
        ranges.append((first, last))
    return tuple(ranges)
