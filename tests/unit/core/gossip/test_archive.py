"""The archive knows what is new, what others lack and what has expired, in bounded room."""

import pytest
from gossip_capsules import capsule
from gossip_world import LIFE, WALL
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from crewgate import limits
from crewgate.core.gossip.archive import Archive, Standing
from crewgate.core.gossip.capsules import Capsule, decode

CAPSULES = st.builds(
    capsule,
    st.integers(1, 3),
    index=st.integers(0, 1),
    epoch=st.integers(1, 2),
    life=st.sampled_from([50, 200, 1000]),
    key=st.sampled_from([0, 77]),
)


def _over(raw: bytes, now: int) -> bool:
    """Whether the span of time is over in which the capsule expired."""
    span = limits.capsule_expiry_seconds
    return (decode(raw).expires // span + 1) * span <= now


class Two(RuleBasedStateMachine):
    """Two archives that are given anything, compare notes, and forget by one clock."""

    def __init__(self) -> None:
        super().__init__()
        self.archives = (Archive(), Archive())
        self.given: tuple[set[bytes], set[bytes]] = (set(), set())
        self.now = WALL

    @rule(side=st.integers(0, 1), given_=CAPSULES)
    def give(self, side: int, given_: Capsule) -> None:
        """As often as it likes."""
        archive, model = self.archives[side], self.given[side]
        standing = archive.accept(given_, self.now)
        if given_.raw in model:
            assert standing is Standing.KNOWN
        elif _over(given_.raw, self.now):
            assert standing in {Standing.EXPIRED, Standing.KNOWN}
        elif standing is not Standing.KNOWN:  # of a number that has expired with another capsule
            assert standing in {Standing.NEW, Standing.CONFLICT}
            model.add(given_.raw)

    @rule()
    def compare(self) -> None:
        """Then both have everything that either had."""
        for giver, taker in ((0, 1), (1, 0)):
            for raw in self.archives[giver].lacking(self.archives[taker].seen()):
                self.give(taker, decode(raw))
        assert self.archives[0].digest == self.archives[1].digest
        assert self.given[0] == self.given[1]

    @rule(seconds=st.sampled_from([1, 60, 300]))
    def wait(self, seconds: int) -> None:
        """Time passes for both."""
        self.now += seconds
        for archive, model in zip(self.archives, self.given, strict=True):
            archive.expire(self.now)
            model -= {raw for raw in model if _over(raw, self.now)}

    @invariant()
    def holds_what_it_was_given(self) -> None:
        """Each of them, and nothing else."""
        for archive, model in zip(self.archives, self.given, strict=True):
            assert set(archive.lacking({})) == model
            assert len(archive) == len(model)
            assert all(archive.knows(raw) for raw in model)


TestTwo = Two.TestCase


def test_the_newest_go_first() -> None:
    """Whoever has little time hears of what is most likely to be used."""
    archive = Archive()
    for number in (2, 3, 1):
        archive.accept(capsule(number), WALL)
    assert [decode(raw).number for raw in archive.lacking({})] == [3, 2, 1]
    assert archive.lacking(archive.seen()) == []


def test_what_has_expired_does_not_come_back() -> None:
    """Not as itself, and not behind a line that was forgotten."""
    archive = Archive()
    brief, long = capsule(1, life=100), capsule(2, life=1000)
    archive.accept(brief, WALL)
    archive.expire(WALL + 200)
    assert len(archive) == 0
    assert archive.accept(brief, WALL + 200) is Standing.EXPIRED
    assert archive.accept(long, WALL + 200) is Standing.NEW
    assert archive.accept(brief, WALL + 200) is Standing.EXPIRED


def test_nobody_is_talked_out_of_a_capsule() -> None:
    """What a peer claims to have seen is believed of the peer: others are still given it."""
    archive = Archive()
    archive.accept(capsule(1), WALL)
    liar = {capsule(1).line: ((1, 2**32 - 1),)}
    assert archive.lacking(liar) == []
    assert archive.accept(capsule(7), WALL) is Standing.NEW
    assert len(archive.lacking({})) == 2


def test_one_number_with_two_capsules_is_kept_twice() -> None:
    """An origin that runs twice from a copy of its memory has revoked both."""
    one, other = Archive(), Archive()
    first, second = capsule(1, key=5), capsule(1, key=6)
    assert one.accept(first, WALL) is Standing.NEW
    assert one.accept(second, WALL) is Standing.CONFLICT
    assert one.accept(second, WALL) is Standing.KNOWN
    assert other.accept(second, WALL) is Standing.NEW
    for raw in one.lacking(other.seen()):
        other.accept(decode(raw), WALL)
    assert one.digest == other.digest
    one.expire(WALL + 2 * LIFE)
    assert (len(one), one.digest) == (0, bytes(8))


def test_room_is_bounded() -> None:
    """In epochs of an origin, in gaps of a line, and in capsules that contradict another."""
    archive = Archive()
    for epoch in range(limits.capsule_epochs_max):
        assert archive.accept(capsule(epoch=epoch), WALL) is Standing.NEW
    assert archive.accept(capsule(epoch=999), WALL) is Standing.UNKEPT
    assert archive.accept(capsule(index=1), WALL) is Standing.NEW
    for gap in range(1, limits.capsule_gaps_max):
        assert archive.accept(capsule(1 + 2 * gap, index=1), WALL) is Standing.NEW
    assert archive.accept(capsule(99_999, index=1), WALL) is Standing.UNKEPT
    assert archive.accept(capsule(2, index=1), WALL) is Standing.NEW
    for key in range(limits.capsule_conflicts_max):
        assert archive.accept(capsule(1, index=1, key=key + 10**6), WALL) is Standing.CONFLICT
    assert archive.accept(capsule(1, index=1, key=5), WALL) is Standing.UNKEPT


@given(st.dictionaries(st.just(capsule().line), st.lists(st.tuples(st.integers(), st.integers()))))
def test_what_nobody_can_have_seen_is_an_error(seen: dict[bytes, list[tuple[int, int]]]) -> None:
    """A ValueError, or an answer; never anything else."""
    archive = Archive()
    archive.accept(capsule(), WALL)
    try:
        assert len(archive.lacking(seen)) <= 1
    except ValueError as error:
        assert "no set of ranges" in str(error)  # noqa: PT017 - either way is right


@pytest.mark.parametrize("known", [True, False])
def test_a_capsule_is_found_by_its_id(*, known: bool) -> None:
    """For whoever asks for it."""
    archive = Archive()
    if known:
        archive.accept(capsule(), WALL)
    assert archive.get(capsule().id) == (capsule().raw if known else None)
    assert archive.has_seen(capsule().id) == known
