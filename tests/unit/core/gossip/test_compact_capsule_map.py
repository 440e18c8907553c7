"""Capsules that are packed come out as they went in, whatever goes between them."""

from gossip_capsules import entry, line
from gossip_world import WALL
from hypothesis import given
from hypothesis import strategies as st

from crewgate import limits
from crewgate.core.gossip.capsules import decode, expires_of, unsigned
from crewgate.core.gossip.compact_capsule_map import PAGE, CompactCapsuleMap
from crewgate.core.gossip.interval_set import ranges_of

NUMBERS = st.integers(1, 3 * PAGE) | st.sampled_from([2**32 - 1, 2**32 - PAGE])


def raw_of(number: int, entries: int) -> bytes:
    """Of that number, with so many revocations, each with a life of its own."""
    revoked = [entry(each, life=1000 - each) for each in range(entries)]
    return unsigned(line(), number, WALL, revoked).raw


@given(st.lists(st.tuples(NUMBERS, st.integers(0, limits.capsule_entries_max)), max_size=60))
def test_it_is_a_dict_of_capsules(steps: list[tuple[int, int]]) -> None:
    """None of one number; another in its place; each page's newest is what its pages begin with."""
    packed, model = CompactCapsuleMap(line()), dict[int, bytes]()
    for number, entries in steps:
        if entries:
            model[number] = raw_of(number, entries)
            packed.put(number, model[number])
        else:
            model.pop(number, None)
            packed.remove(number)
        assert packed.get(number) == model.get(number)
        assert (number in packed) == (number in model)
    assert {number: packed.get(number) for number in model} == model
    assert bool(packed) == bool(model)
    assert packed.ranges() == ranges_of(model)
    found = [number for page, _ in packed.pages() for number in packed.numbers(page)]
    assert sorted(found) == sorted(model)
    assert all(
        model[packed.numbers(page)[0]].endswith(rest) and rest for page, rest in packed.pages()
    )


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=limits.capsule_entries_max))
def test_when_a_capsule_expires_is_read_from_its_bytes(lives: list[int]) -> None:
    """As it is from what was decoded."""
    raw = unsigned(line(), 1, WALL, [entry(life=life) for life in lives]).raw
    assert expires_of(raw) == decode(raw).expires == WALL + max(lives)


def test_a_full_line_is_one_range_whatever_its_order() -> None:
    """As after a sync, which begins with the newest."""
    packed = CompactCapsuleMap(line())
    for number in range(5 * PAGE, 0, -1):
        packed.put(number, raw_of(number, 1))
    assert packed.ranges() == ((1, 5 * PAGE),)
