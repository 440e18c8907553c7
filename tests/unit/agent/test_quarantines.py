"""What other machines say of orchestrators: the last word counts, and is said once."""

from itertools import permutations

import pytest

from crewgate import limits
from crewgate.agent.quarantines import Quarantines, told
from crewgate.core.gossip.capsules import Entry

WALL = 1_800_000_000
BD = ("bd", "bd/bd-1")


def word(wall: int, *, lift: bool = False) -> Entry:
    """One word on bd-1."""
    (entry,) = told(*BD, wall, lift=lift)
    return entry


@pytest.mark.parametrize(
    ("words", "is_held"),
    [
        ([word(WALL)], True),
        ([word(WALL), word(WALL + 1, lift=True)], False),
        ([word(WALL), word(WALL + 1, lift=True), word(WALL + 2)], True),
        ([word(WALL), word(WALL, lift=True)], True),
    ],
)
def test_the_last_word_counts_in_whatever_order_they_come(
    words: list[Entry], is_held: bool
) -> None:
    """Of two at one time the one that holds; once it was done it is not said again."""
    for order in permutations(words):
        heard = Quarantines()
        for each in order:
            heard.hear([each])
        assert heard.take("bd", "bd/bd-2") is None
        assert heard.take("finance", "bd/bd-1") is None
        found = heard.take(*BD)
        assert found is not None
        assert found.is_held is is_held
        assert heard.take(*BD) is None


def test_revocations_are_none_of_its_business() -> None:
    """And it keeps no more than it may; one that it has heard of may still be lifted."""
    heard = Quarantines()
    heard.hear([word(WALL)._replace(kind=4)])
    assert heard.take(*BD) is None
    heard.hear([word(WALL)])
    for number in range(limits.quarantines_heard_max + 1):
        heard.hear(told("bd", f"bd/{number}", WALL, lift=False))
    heard.hear([word(WALL + 1, lift=True)])
    found, other = heard.take(*BD), heard.take("bd", "bd/0")
    assert found is not None
    assert other is not None
    assert (found.is_held, other.is_held) == (False, True)
    assert heard.take("bd", f"bd/{limits.quarantines_heard_max}") is None
