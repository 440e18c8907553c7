"""Ranges are a set of whole numbers, as small as its gaps are few."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewgate.core.gossip.interval_set import IntervalSet, Range, ranges_of


@given(st.sets(st.integers(1, 60)))
def test_they_are_a_set(numbers: set[int]) -> None:
    """Against a set: what is in it, and that no two ranges touch."""
    found = ranges_of(numbers)
    ranges = IntervalSet(found)
    assert {each for each in range(62) if each in ranges} == numbers
    assert all(last + 1 < first for (_, last), (first, _) in pairwise(found))


@pytest.mark.parametrize(
    "ranges", [[(0, 1)], [(2, 1)], [(1, 2), (3, 4)], [(5, 6), (1, 2)], [(1, 3), (2, 5)]]
)
def test_what_is_no_set_of_ranges_is_refused(ranges: list[Range]) -> None:
    """Below 1, backwards, touching, out of order, overlapping."""
    with pytest.raises(ValueError, match="invalid range after"):
        IntervalSet(ranges)
