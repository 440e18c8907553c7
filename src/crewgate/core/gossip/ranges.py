"""Whole numbers from 1 as ranges: what was seen of a line, in little room while it is dense."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator

Range = tuple[int, int]  # first and last


class Ranges:
    """A set of whole numbers, at most `most` ranges of them."""

    __slots__ = ("_firsts", "_lasts", "_most")

    def __init__(self, ranges: Iterable[Range] = (), *, most: int) -> None:
        """`ranges` in order, with a gap between any two; ValueError otherwise, or for too many."""
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        self._most = most
        end = -1
        for first, last in ranges:
            if first <= end + 1 or first < 1 or last < first or len(self._firsts) == most:
                raise ValueError("no set of ranges")
            self._firsts.append(first)
            self._lasts.append(last)
            end = last

    def __repr__(self) -> str:
        return f"<Ranges {list(self)}>"

    def __iter__(self) -> Iterator[Range]:
        return zip(self._firsts, self._lasts, strict=True)

    def __len__(self) -> int:
        return len(self._firsts)

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._firsts, number) - 1
        return at >= 0 and number <= self._lasts[at]

    def add(self, number: int) -> bool:
        """Whether it is in the set now: False if it would take one range too many."""
        firsts, lasts = self._firsts, self._lasts
        at = bisect_right(firsts, number)  # of the range behind it
        joins_before = at > 0 and lasts[at - 1] >= number - 1
        joins_behind = at < len(firsts) and firsts[at] == number + 1
        if joins_before and joins_behind:
            lasts[at - 1] = lasts.pop(at)
            firsts.pop(at)
        elif joins_before:
            lasts[at - 1] = max(lasts[at - 1], number)
        elif joins_behind:
            firsts[at] = number
        elif len(firsts) >= self._most:
            return False
        else:
            firsts.insert(at, number)
            lasts.insert(at, number)
        return True
