"""Ranges are a set of whole numbers, as small as its gaps are few."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewgate.core.gossip.ranges import Range, Ranges


@given(st.lists(st.integers(1, 60)))
def test_they_are_a_set(numbers: list[int]) -> None:
    """Against a set: what is in it, and that no two ranges touch."""
    ranges, model = Ranges(most=60), set[int]()
    for number in numbers:
        assert ranges.add(number)
        model.add(number)
        assert {each for each in range(62) if each in ranges} == model
    found = list(ranges)
    assert all(last + 1 < first for (_, last), (first, _) in pairwise(found))
    assert list(Ranges(found, most=60)) == found


@given(st.lists(st.integers(1, 30)), st.integers(1, 5))
def test_they_take_no_more_than_they_may(numbers: list[int], most: int) -> None:
    """A number that would be a range too many is not in, and one that joins others is."""
    ranges, model = Ranges(most=most), set[int]()
    for number in numbers:
        if ranges.add(number):
            model.add(number)
        else:
            assert not {number - 1, number, number + 1} & model
        assert len(ranges) <= most
    assert {each for each in range(32) if each in ranges} == model


@pytest.mark.parametrize(
    "ranges",
    [[(0, 1)], [(2, 1)], [(1, 2), (3, 4)], [(5, 6), (1, 2)], [(1, 1), (3, 3), (5, 5)]],
)
def test_what_is_no_set_of_ranges_is_refused(ranges: list[Range]) -> None:
    """Below 1, backwards, touching, out of order, too many."""
    with pytest.raises(ValueError, match="no set"):
        Ranges(ranges, most=2)
