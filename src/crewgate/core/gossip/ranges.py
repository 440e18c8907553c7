"""Whole numbers from 1 as ranges: what is there of a line, in little room while it is dense."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence

Range = tuple[int, int]  # first and last


class IntervalSet:
    """A set of whole numbers that somebody else has told of; ValueError for what is none."""

    __slots__ = ("_firsts", "_lasts")

    def __init__(self, ranges: Sequence[Range]) -> None:
        """In order, with a gap between any two."""
        end = -1
        for first, last in ranges:
            if first <= end + 1 or first < 1 or last < first:
                raise ValueError("no set of ranges")
            end = last
        self._firsts = [first for first, _ in ranges]
        self._lasts = [last for _, last in ranges]

    def __repr__(self) -> str:
        return f"<IntervalSet {list(zip(self._firsts, self._lasts, strict=True))}>"

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._firsts, number) - 1
        return at >= 0 and number <= self._lasts[at]


def ranges_of(numbers: Iterable[int]) -> tuple[Range, ...]:
    """Different numbers from 1, in any order, as the ranges that they make up."""
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
