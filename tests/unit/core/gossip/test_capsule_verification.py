"""What an origin has signed is good, by its own signature or by that of a later one of its line."""

from collections.abc import Sequence

import pytest
from gossip_capsules import entry, line
from gossip_world import CLUSTER, LIFE, WALL, sign
from hypothesis import given
from hypothesis import strategies as st

from crewgate import limits
from crewgate.core.gossip.capsule_store import CapsuleStore
from crewgate.core.gossip.capsule_verification import CapsuleVerifier
from crewgate.core.gossip.capsules import (
    NONE,
    SIGNATURE_BYTES,
    Capsule,
    decode,
    digest_of,
    seal,
    unsigned,
)
from crewgate.errors import GossipError


class Counted:
    """Signatures of members 0 to 2, as they are looked at."""

    def __init__(self) -> None:
        self.archive = CapsuleStore()
        self.looked_at = 0
        self.judging = CapsuleVerifier(self.archive, self._verify)

    def _verify(self, capsule: Capsule, is_named: bool) -> bool:
        if is_named:
            return any(capsule.line.startswith(line(index)[:8]) for index in range(3))
        self.looked_at += 1
        return is_signed(capsule)

    def accept(self, raws: Sequence[bytes]) -> list[Capsule]:
        """Judge, and keep what is good."""
        found = []
        for each in self.judging.new(raws):
            if self.judging.is_good(each):
                self.archive.accept(each, WALL)
                found.append(each)
        return found


def is_signed(capsule: Capsule) -> bool:
    """By its origin itself."""
    return any(
        capsule.line.startswith(line(index)[:8])
        and capsule.signature == sign(index, capsule.signed(CLUSTER))
        for index in range(3)
    )


def chain(count: int, *, index: int = 0, lives: Sequence[int] = ()) -> list[Capsule]:
    """So many of one line, each of which names the one before it."""
    made: list[Capsule] = []
    for number in range(1, count + 1):
        previous = digest_of(made[-1].raw) if made else NONE
        revoked = [entry(number, life=lives[number - 1] if lives else LIFE)]
        made.append(signed(index, unsigned(line(index), number, WALL, revoked, previous)))
    return made


def signed(index: int, capsule: Capsule) -> Capsule:
    return seal(capsule, sign(index, capsule.signed(CLUSTER)))


def unsealed(capsule: Capsule) -> Capsule:
    """With a signature that is none."""
    return seal(capsule, bytes(SIGNATURE_BYTES))


def raws_of(capsules: Sequence[Capsule]) -> list[bytes]:
    return [each.raw for each in capsules]


def test_of_a_line_the_newest_first_one_signature_is_looked_at() -> None:
    """Over as many steps as it takes; the oldest first, each is."""
    raws = raws_of(chain(200))
    newest, oldest = Counted(), Counted()
    for at in range(0, 200, 64):
        newest.accept(raws[::-1][at : at + 64])
        oldest.accept(raws[at : at + 64])
    assert len(newest.archive) == len(oldest.archive) == 200
    assert (newest.looked_at, oldest.looked_at) == (1, 200)


def test_what_is_here_already_is_neither_judged_nor_named_again() -> None:
    """And what it names is good all the same."""
    raws = raws_of(chain(5))
    one = Counted()
    one.accept(raws[3:])
    looked_at = one.looked_at
    assert [each.number for each in one.accept(raws[::-1])] == [3, 2, 1]
    assert one.looked_at == looked_at


def test_only_the_one_before_it_is_named_to_the_last_bit() -> None:
    """Not another origin's, nor another number's; and nothing that was changed."""
    first = chain(1)[0]
    other = chain(1, index=1)[0]
    bad = [seal(first, bytes(64))]
    bad += [decode(first.raw[:at] + b"\x55" + first.raw[at + 1 :]) for at in (22, 30, 42, 60, 80)]
    for named in (unsealed(other), *bad):
        # Whoever signs may name what he likes: as the one before it, in his own line alone.
        liar = signed(2, unsigned(line(2), 2, WALL, [entry(7)], digest_of(named.raw)))
        assert Counted().accept([liar.raw, named.raw]) == [liar]
    good = chain(2)
    for each in bad:
        assert Counted().accept([good[1].raw, each.raw]) == good[1:]
    third = signed(0, unsigned(line(), 3, WALL, [entry(9)], digest_of(unsealed(first).raw)))
    assert Counted().accept([third.raw, unsealed(first).raw]) == [third]


def test_what_does_not_stay_as_long_names_nothing() -> None:
    """Or whoever asks for it later could not be shown that it is good."""
    longer, shorter = chain(2, lives=[LIFE + 1, LIFE])
    one = Counted()
    one.accept([shorter.raw, longer.raw])
    assert one.looked_at == 2
    revoked = [entry(2, life=LIFE)]
    bare = unsealed(longer)
    shorter = signed(0, unsigned(line(), 2, WALL, revoked, digest_of(bare.raw)))
    assert Counted().accept([shorter.raw, bare.raw]) == [shorter]
    revoked = [entry(3, life=LIFE + 1)]
    stays = signed(0, unsigned(line(), 2, WALL, revoked, digest_of(bare.raw)))
    assert Counted().accept([stays.raw, shorter.raw, bare.raw]) == [stays, shorter, bare]


def test_what_names_another_must_find_room_for_that(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or this machine had what it could hand to nobody: only the liar's own signature would do."""
    monkeypatch.setattr(limits, "capsule_conflicts_max", 0)
    bare, first = unsealed(chain(1)[0]), chain(1)[0]
    second = signed(0, unsigned(line(), 2, WALL, [entry(2)]))
    for named, kept in ((bare, []), (first, [first])):
        one = Counted()
        one.accept([second.raw])
        liar = signed(0, unsigned(line(), 2, WALL, [entry(3)], digest_of(named.raw)))
        assert one.accept([liar.raw, named.raw]) == [liar, *kept]
        assert [one.archive.get(each.id) for each in (second, first)] == [
            second.raw, *([first.raw] if kept else [None]),
        ]  # fmt: skip


def test_of_whom_nobody_here_can_tell_is_not_left_out() -> None:
    """Its certificate may be on its way: who went on without it would lack what others obey."""
    stranger = signed(7, unsigned(line(7), 1, WALL, [entry(1)]))
    one = Counted()
    with pytest.raises(GossipError, match="no certificate here allows its origin to sign it"):
        one.accept([*raws_of(chain(2)), stranger.raw])
    assert len(one.archive) == 0


def named_only(count: int, offsets: Sequence[int], *, index: int = 0) -> list[Capsule]:
    """So many of a line whose origin has given a signature to the last one alone, and any times."""
    made: list[Capsule] = []
    for number, offset in zip(range(1, count + 1), offsets, strict=True):
        previous = digest_of(made[-1].raw) if made else NONE
        capsule = unsigned(line(index), number, WALL + offset, [entry(number)], previous)
        made.append(signed(index, capsule) if number == count else unsealed(capsule))
    return made


@given(
    st.lists(st.integers(-9, 9), min_size=70, max_size=70),
    st.sampled_from([0, 3, 6, 7, 30]),
    st.sampled_from([1, 2, 64]),
)
def test_whoever_is_handed_what_another_has_finds_the_same_good(
    offsets: list[int], known: int, step: int
) -> None:
    """Whatever an origin names, and says of its times: none of it parts two machines for good."""
    capsules = named_only(70, offsets)
    lying = named_only(2, offsets[:2], index=1)
    lying.insert(1, signed(1, unsigned(line(1), 2, WALL, [entry(4)])))  # which names nothing
    giver, taker = Counted(), Counted()
    for one, raws in ((giver, raws_of(capsules)), (taker, raws_of(capsules[70 - known :]))):
        one.accept(raws[::-1])
        one.accept(raws_of(lying[::-1] if one is giver else lying[:0]))
    lacking = list(giver.archive.lacking(taker.archive.held(giver.archive.digests())))
    for at in range(0, len(lacking), step):
        taker.accept(lacking[at : at + step])
    assert taker.archive.digest == giver.archive.digest


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9), st.booleans()), max_size=30),
    st.lists(st.tuples(st.booleans(), st.integers(0, 29)), max_size=60),
    st.tuples(st.integers(0, 4), st.integers(0, 1), st.integers(0, 4)),
    st.sampled_from([1, 2, 64]),
)
def test_a_liar_keeps_from_nobody_what_others_have_signed(
    lies: list[tuple[int, int, bool]],
    told: list[tuple[bool, int]],
    room: tuple[int, int, int],
    step: int,
) -> None:
    """Whatever it tells whom, names, and leaves unsigned, and for whatever of it there is room."""
    made: list[Capsule] = []
    for number, named, is_sealed in lies:
        previous = digest_of(made[named].raw) if named < len(made) else NONE
        lie = unsigned(line(1, named % 2), number, WALL + named, [entry(len(made))], previous)
        made.append(signed(1, lie) if is_sealed else unsealed(lie))
    with pytest.MonkeyPatch.context() as patch:
        giver, taker = Counted(), Counted()
        giver.accept(raws_of(chain(3))[::-1])
        for is_giver, which in told:
            (giver if is_giver else taker).accept([each.raw for each in made[which : which + 1]])
        patch.setattr(limits, "capsule_conflicts_max", room[0])
        patch.setattr(limits, "capsule_epochs_max", 1 + room[1])
        patch.setattr(limits, "capsules_each_max", 3 + room[2])
        lacking = list(giver.archive.lacking(taker.archive.held(giver.archive.digests())))
        for at in range(0, len(lacking), step):
            taker.accept(lacking[at : at + step])
    assert all(taker.archive.knows(raw) for raw in raws_of(chain(3)))
