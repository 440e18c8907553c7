"""The archive knows what is new, what others lack and what has expired, in bounded room."""

import pytest
from gossip_capsules import capsule, line
from gossip_world import LIFE, WALL
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from crewgate import limits
from crewgate.core.gossip.capsule_store import AcceptResult, CapsuleStore
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


def exchange(one: CapsuleStore, other: CapsuleStore, now: int) -> None:
    """As over a stream: digests, what is there of the lines that differ, and what is lacking."""
    theirs = other.differing(one.digests())
    ours = one.held(theirs)
    for taker, raws in ((other, list(one.lacking(theirs))), (one, list(other.lacking(ours)))):
        for raw in raws:
            taker.accept(decode(raw), now)


class Two(RuleBasedStateMachine):
    """Two archives that are given anything, compare notes, and forget by one clock."""

    def __init__(self) -> None:
        super().__init__()
        self.archives = (CapsuleStore(), CapsuleStore())
        self.given: tuple[set[bytes], set[bytes]] = (set(), set())
        self.now = WALL

    @rule(side=st.integers(0, 1), given_=CAPSULES)
    def give(self, side: int, given_: Capsule) -> None:
        """As often as it likes."""
        archive, model = self.archives[side], self.given[side]
        standing = archive.accept(given_, self.now)
        if given_.raw in model:
            assert standing is AcceptResult.KNOWN
        elif _over(given_.raw, self.now):
            assert standing is AcceptResult.EXPIRED
        else:
            is_taken = given_.id in {raw[:20] for raw in model}
            assert standing is (AcceptResult.CONFLICT if is_taken else AcceptResult.NEW)
            model.add(given_.raw)

    @rule()
    def compare(self) -> None:
        """Twice, as only equal numbers show that capsules differ: then both have all."""
        for _ in range(2):
            exchange(*self.archives, self.now)
        together = self.given[0] | self.given[1]
        self.given[0].update(together)
        self.given[1].update(together)
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
            assert set(archive.lacking(CapsuleStore().differing(archive.digests()))) == model
            assert len(archive) == len(model)
            assert all(archive.knows(raw) for raw in model)


TestTwo = Two.TestCase


def test_the_newest_go_first() -> None:
    """Whoever has little time hears of what is most likely to be used."""
    archive = CapsuleStore()
    for number in (2, 3, 1):
        archive.accept(capsule(number), WALL)
    name = capsule().line
    assert [decode(raw).number for raw in archive.lacking({name: ()})] == [3, 2, 1]
    assert [decode(raw).number for raw in archive.lacking({name: ((1, 2),)})] == [3]
    assert archive.held([name]) == {name: ((1, 3),)}
    assert archive.differing(archive.digests()) == {}
    assert archive.differing({}) == {name: ((1, 3),)}


def test_what_has_expired_does_not_come_back() -> None:
    """Not as itself, and not behind a line that was forgotten."""
    archive = CapsuleStore()
    brief, long = capsule(1, life=100), capsule(2, life=1000)
    archive.accept(brief, WALL)
    archive.expire(WALL + 200)
    assert len(archive) == 0
    assert archive.accept(brief, WALL + 200) is AcceptResult.EXPIRED
    assert archive.accept(long, WALL + 200) is AcceptResult.NEW
    assert archive.accept(brief, WALL + 200) is AcceptResult.EXPIRED


def test_nobody_is_talked_out_of_a_capsule() -> None:
    """What a peer claims to have is believed of the peer: others are still given it."""
    archive = CapsuleStore()
    archive.accept(capsule(1), WALL)
    assert not list(archive.lacking({capsule(1).line: ((1, 2**32 - 1),)}))
    assert archive.accept(capsule(7), WALL) is AcceptResult.NEW
    assert len(list(archive.lacking({capsule(1).line: ()}))) == 2


def test_one_number_with_two_capsules_is_kept_twice() -> None:
    """An origin that runs twice from a copy of its memory has revoked both; and all learn it."""
    one, other = CapsuleStore(), CapsuleStore()
    first, second = capsule(1, key=5), capsule(1, key=6, life=10 * LIFE)
    assert one.accept(first, WALL) is AcceptResult.NEW
    assert one.accept(second, WALL) is AcceptResult.CONFLICT
    assert one.accept(second, WALL) is AcceptResult.KNOWN
    assert other.accept(second, WALL) is AcceptResult.NEW
    exchange(one, other, WALL)
    assert one.digest == other.digest
    assert (len(one), len(other)) == (2, 2)
    one.expire(WALL + 2 * LIFE)
    assert one.get(second.id) == second.raw
    one.expire(WALL + 20 * LIFE)
    assert (len(one), one.digest) == (0, bytes(8))


def test_room_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """In epochs of an origin and of all, in capsules that contradict another, and in all."""
    archive = CapsuleStore()
    for epoch in range(limits.capsule_epochs_max):
        assert archive.accept(capsule(epoch=epoch), WALL) is AcceptResult.NEW
    assert archive.accept(capsule(epoch=9999), WALL) is AcceptResult.UNKEPT
    assert archive.accept(capsule(index=1), WALL) is AcceptResult.NEW
    for key in range(limits.capsule_conflicts_max):
        assert archive.accept(capsule(1, index=1, key=key + 10**6), WALL) is AcceptResult.CONFLICT
    assert archive.accept(capsule(1, index=1, key=5), WALL) is AcceptResult.UNKEPT
    monkeypatch.setattr(limits, "capsule_lines_max", limits.capsule_epochs_max + 1)
    assert archive.accept(capsule(index=2), WALL) is AcceptResult.UNKEPT
    monkeypatch.setattr(limits, "capsules_max", len(archive))
    assert archive.accept(capsule(2, index=1), WALL) is AcceptResult.UNKEPT


def test_what_no_honest_origin_says_is_not_kept_for_ever() -> None:
    """Nothing lives for longer than a certificate; whoever says so would have it kept for good."""
    archive, most = CapsuleStore(), limits.capsule_life_seconds_max
    assert archive.accept(capsule(1, life=most + 1), WALL) is AcceptResult.UNKEPT
    assert archive.accept(capsule(1, life=most), WALL) is AcceptResult.NEW


def test_no_origin_takes_the_places_of_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has expired leaves room again."""
    monkeypatch.setattr(limits, "capsules_each_max", 2)
    archive = CapsuleStore()
    assert archive.accept(capsule(1), WALL) is AcceptResult.NEW
    assert archive.accept(capsule(2, life=20 * LIFE), WALL) is AcceptResult.NEW
    assert archive.accept(capsule(3, life=20 * LIFE), WALL) is AcceptResult.UNKEPT
    assert archive.accept(capsule(3, index=1), WALL) is AcceptResult.NEW
    archive.expire(WALL + 2 * LIFE)
    assert archive.accept(capsule(3, life=20 * LIFE), WALL + 2 * LIFE) is AcceptResult.NEW


@given(st.lists(st.tuples(st.integers(), st.integers())).map(tuple))
def test_what_nobody_can_have_is_an_error(ranges: tuple[tuple[int, int], ...]) -> None:
    """A ValueError, or an answer; never anything else."""
    archive = CapsuleStore()
    archive.accept(capsule(), WALL)
    try:
        assert len(list(archive.lacking({capsule().line: ranges}))) <= 1
    except ValueError as error:
        assert "invalid range after" in str(error)  # noqa: PT017 - either way is right


@pytest.mark.parametrize("known", [True, False])
def test_a_capsule_is_found_by_its_id(*, known: bool) -> None:
    """For whoever asks for it."""
    archive = CapsuleStore()
    if known:
        archive.accept(capsule(), WALL)
    assert archive.get(capsule().id) == (capsule().raw if known else None)


def test_a_line_with_more_gaps_than_can_be_told_is_handed_over_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Or two who differ in it could compare nothing any more; all others are as they were."""
    monkeypatch.setattr(limits, "held_ranges_max", 4)
    one, other = CapsuleStore(), CapsuleStore()
    for number in range(1, 10, 2):
        one.accept(capsule(number, epoch=1), WALL)
    for number in (1, 2, 5, 7):
        one.accept(capsule(number, epoch=2), WALL)
        other.accept(capsule(number, epoch=2), WALL)
    other.accept(capsule(2, epoch=1), WALL)
    other.accept(capsule(9, epoch=2), WALL)
    held = one.held(one.digests())
    assert held == {line(0, 1): (), line(0, 2): ((1, 2), (5, 5), (7, 7))}
    assert list(other.lacking(held)) == [capsule(9, epoch=2).raw, capsule(2, epoch=1).raw]
    for raw in one.lacking(other.differing(one.digests())):
        other.accept(decode(raw), WALL)
    for raw in other.lacking(held):
        one.accept(decode(raw), WALL)
    assert one.digest == other.digest
