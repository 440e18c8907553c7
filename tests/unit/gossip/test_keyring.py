"""Keys come, settle, are used and go; and nobody who lies about them makes members deaf."""

import itertools
import os
from collections.abc import Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crewgate import limits
from crewgate.gossip.datagram_crypto import KEY_BYTES, KeySet
from crewgate.gossip.keyring import GroupKey, Keyring

WALL = 1_800_000_000
HOUR = limits.group_key_seconds
SETTLE = limits.group_key_settle_seconds
VOID = limits.group_key_void_seconds


def ring(*keys: GroupKey, wall: int = WALL) -> Keyring:
    """Of one who hears of these first."""
    made = Keyring(KeySet())
    made.merge(keys, wall)
    return made


def key(number: int, created: int = WALL, *, voids: bool = False, fill: int = 0) -> GroupKey:
    return GroupKey(number, bytes((fill or number % 256,)) * KEY_BYTES, created, voids)


def numbers(of: Iterable[GroupKey]) -> list[int]:
    return [each.number for each in of]


def test_the_first_is_used_at_once() -> None:
    """There is no other; whoever joins takes what is in use."""
    one = Keyring(KeySet())
    assert not one.is_due(WALL, 0)
    one.make(WALL)
    [made] = one
    assert one._keys.number == made.number
    assert ring(key(1, WALL - HOUR), key(2, WALL))._keys.number == 1
    assert ring(key(1, WALL - HOUR), key(2, WALL - SETTLE))._keys.number == 2


def test_the_next_is_used_when_all_had_time_to_hear_of_it() -> None:
    """Since it was heard of here, whatever it says of when it was made."""
    one = ring(key(1, WALL - HOUR))
    assert one.merge([key(2, WALL - SETTLE)], WALL)
    assert not one.merge([key(2, WALL - SETTLE)], WALL)
    one.choose(WALL + SETTLE - 1)
    assert one._keys.number == 1
    one.choose(WALL + SETTLE)
    assert one._keys.number == 2
    assert one._keys.get(1) is not None


def test_a_key_that_voids_is_used_at_once_and_ends_the_others() -> None:
    """Not before those who lack it could ask."""
    one = ring(key(1, WALL - HOUR), key(2))
    one.make(WALL, voids=True)
    new = one._keys.number
    assert numbers(one) == [1, 2, new]
    one.choose(WALL + VOID)
    assert numbers(one) == [1, 2, new]
    one.choose(WALL + VOID + 1)
    assert numbers(one) == [new]
    assert one._keys.get(1) is None


def test_who_may_not_revoke_voids_nothing() -> None:
    """Until somebody says so who may."""
    one = ring(key(1, WALL - HOUR))
    one.merge([key(2, voids=True)], WALL, may_void=False)
    one.choose(WALL + VOID)
    assert (numbers(one), one._keys.number) == ([1, 2], 1)
    assert one.merge([key(2, voids=True)], WALL + VOID)
    assert (numbers(one), one._keys.number) == ([2], 2)


def test_made_up_keys_drive_out_none_that_is_in_use() -> None:
    """Ever so many, of any time: what others seal with is still opened, and used."""
    one = ring(key(1, WALL - 2 * HOUR), key(2, WALL - HOUR))
    for number in range(10, 1000):
        one.merge([key(number, WALL + SETTLE + limits.skew_max)], WALL)
        one.merge([key(number + 1000, WALL - SETTLE)], WALL)
    assert one._keys.number == 2
    assert one._keys.get(1) is not None
    assert len(list(one)) == limits.group_keys_max


def test_keys_from_far_ahead_are_none() -> None:
    """Nobody's clock is so far off, and such ones would be the newest for ever."""
    one = ring(key(1))
    assert not one.merge([key(2, WALL + limits.skew_max + SETTLE + 1)], WALL)
    assert numbers(one) == [1]


def test_a_number_of_two_keys_is_none_s() -> None:
    """Who tells some of one and some of another would have them not hear each other."""
    one, other = ring(key(1, WALL - HOUR)), ring(key(1, WALL - HOUR))
    one.merge([key(7, fill=1)], WALL)
    other.merge([key(7, fill=2)], WALL)
    for each, heard in ((one, list(other)), (other, list(one))):
        each.merge(heard, WALL)
        each.merge([key(7, fill=1), key(7, fill=2)], WALL)
        each.merge([key(7, fill=1)], WALL)
        each.choose(WALL + SETTLE)
        assert (numbers(each), each._keys.number) == ([1], 1)


def test_a_number_in_use_stays_its_key_s() -> None:
    """Whatever somebody else gives it."""
    one = ring(key(1, WALL - HOUR))
    assert not one.merge([key(1, WALL - HOUR, fill=9), key(1, WALL, fill=9)], WALL)
    assert one._keys.get(1) == key(1).key


def test_one_who_was_away_for_long_takes_what_the_others_use() -> None:
    """Nobody opens with what it has."""
    one = ring(key(1, WALL - limits.group_keys_max * HOUR))
    one.merge([key(8, WALL - HOUR), key(9, WALL)], WALL)
    assert one._keys.number == 8


@pytest.mark.parametrize(
    "bad", [GroupKey(1, b"short", WALL), GroupKey(0, bytes(32), 0), GroupKey(2**24, bytes(32), 0)]
)
def test_what_is_no_key(bad: GroupKey) -> None:
    """It is said, and the ring is as before."""
    one = ring(key(3))
    with pytest.raises(ValueError, match="group key"):
        one.merge([bad], WALL)
    assert numbers(one) == [3]


def test_the_turn_goes_by_rank() -> None:
    """An hour, and five seconds for each member before."""
    one = ring(key(1))
    assert [one.is_due(WALL + HOUR + n, 2) for n in (0, 9, 10)] == [False, False, True]
    assert not one.is_due(WALL + HOUR - 1, 0)


def test_hours_go_by() -> None:
    """Of members whose clocks differ: at any time all open what any seals; each makes some keys."""
    skews = (0, 25, -25)
    rings = [Keyring(KeySet()) for _ in skews]
    rings[0].make(WALL)
    used = set[int]()
    for second in range(0, 6 * HOUR, 10):
        for rank, (one, skew) in enumerate(zip(rings, skews, strict=True)):
            wall = WALL + second + skew
            one.choose(wall)
            if one.is_due(wall, rank):
                one.make(wall)
        for one, other in itertools.permutations(rings, 2):
            one.merge(list(other), WALL + second + skews[rings.index(one)])
        for one, other in itertools.permutations(rings, 2):
            assert other._keys.get(one._keys.number) == one._keys.get(one._keys.number)
        used |= {one._keys.number for one in rings}
    assert len(used) == 6


KEYS = st.builds(
    GroupKey,
    st.integers(1, 6),
    st.sampled_from([bytes(KEY_BYTES), b"1" * KEY_BYTES]),
    st.integers(WALL - 2 * HOUR, WALL + 2 * HOUR),
    st.booleans(),
)


def _of(number: int, seconds: int) -> GroupKey:
    return GroupKey(number, bytes(KEY_BYTES), WALL + seconds)


@example(  # two old keys take the places of two that are used, among them the one in use
    [
        ([_of(2, 1 - HOUR), _of(4, 1 - HOUR)], False, 0),
        ([_of(1, -2 * HOUR), _of(3, -2 * HOUR)], False, 120),
    ]
)
@given(st.lists(st.tuples(st.lists(KEYS, max_size=4), st.booleans(), st.integers(0, 200))))
def test_whatever_is_heard_the_ring_is_one(
    heard: list[tuple[list[GroupKey], bool, int]],
) -> None:
    """Bounded, in order, without two of a number; and without voids what is in use stays open."""
    one, wall = ring(key(99, WALL - HOUR)), WALL
    for others, may_void, later in heard:
        wall += later
        before = one._keys.number
        one.merge(others, wall, may_void=may_void)
        got = list(one)
        assert 0 < len(got) <= limits.group_keys_max
        assert len(set(numbers(got))) == len(got)
        assert got == sorted(got, key=lambda each: (each.created, each.number))
        assert one._keys.get(one._keys.number) is not None
        if not any(each.voids for each in (*got, *others)):
            assert one._keys.get(before) is not None


def test_a_made_key_is_like_no_other() -> None:
    """In number and bytes."""
    one = ring(key(1))
    for _ in range(10):
        one.make(WALL)
    assert len({each.key for each in one} | {os.urandom(32)}) == len(list(one)) + 1
    assert one._keys.number == 1
    assert "<GroupKey 1 of" in repr(list(one))
