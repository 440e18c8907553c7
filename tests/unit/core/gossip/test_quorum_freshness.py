"""Whoever still admits knows what a majority has acknowledged, whatever the network did."""

import math
from itertools import permutations

import pytest
from gossip_world import member_id
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from crewgate import limits
from crewgate.core.gossip.quorum_freshness import QuorumFreshness, majority

STALENESS = 5.0
COUNT_MAX = 7
WHO = st.integers(0, COUNT_MAX - 1)


def one_of(count: int) -> QuorumFreshness:
    """The first of so many, who all count."""
    one = QuorumFreshness(member_id(0), counts=True)
    members = [member_id(index) for index in range(count)]
    one.merge(members, members)
    return one


@pytest.mark.parametrize(
    ("count", "needed"), [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2), (6, 3), (7, 3), (1000, 500)]
)
def test_with_oneself_they_are_more_than_half(count: int, needed: int) -> None:
    """Of all members, whether they are there or not."""
    one = one_of(count)
    assert one.needed == needed
    assert majority(count) == needed + 1


@pytest.mark.parametrize(("count", "needed"), [(1, 0), (2, 0), (3, 1), (9, 1)])
def test_where_any_other_is_enough(count: int, needed: int) -> None:
    """Of a pair each goes on alone."""
    one = one_of(count)
    one.any_other = True
    assert one.needed == needed


def test_until_when() -> None:
    """As long after the question as may be, of the last that makes up the majority."""
    one = QuorumFreshness(member_id(0), counts=True)
    assert one.until(STALENESS) == math.inf
    one = one_of(5)
    assert one.until(STALENESS) == -math.inf
    one.compared(member_id(1), 10.0)
    assert one.until(STALENESS) == -math.inf
    one.compared(member_id(2), 12.0)
    one.compared(member_id(2), 11.0)
    one.compared(member_id(99), 50.0)
    assert one.until(STALENESS) == 15.0
    one.compared(member_id(3), 14.0)
    assert one.until(STALENESS) == 17.0


@pytest.mark.parametrize("any_other", [False, True])
def test_who_has_never_had_all_counts_once_a_majority_of_the_others_was_asked(
    any_other: bool,
) -> None:
    """A joiner, or one whose disk is empty; alone it is never fresh."""
    one = QuorumFreshness(member_id(0), any_other=any_other)
    assert one.until(STALENESS) == -math.inf
    members = [member_id(index) for index in range(5)]
    one.merge(members, members[:4])
    needed = 1 if any_other else 2
    for index in range(1, needed + 1):
        assert not one.compared(member_id(index), 10.0)
    later = 10.0 + limits.receipt_answer_seconds
    for index in range(1, needed + 1):
        assert not one.counts
        assert one.compared(member_id(index), later) == (index == needed)
    assert one.counts
    assert one.until(STALENESS) == later + STALENESS


def test_what_one_said_before_it_lost_its_disk_counts_no_more_once_it_counts_again() -> None:
    """Though it compares with a majority at once: whom it told may still add that up."""
    one = QuorumFreshness(member_id(0))
    members = [member_id(index) for index in range(3)]
    one.merge(members, members[1:])
    for tick in range(11):
        now = 20.0 + tick * limits.receipt_answer_seconds / 10
        for index in (1, 2):
            one.compared(member_id(index), now)
        assert one.counts == (tick == 10)
        assert one.until(STALENESS) == now + STALENESS


def test_one_that_lost_its_disk_agrees_with_the_others_that_it_counted_once() -> None:
    """Else no answer would count for it again, since answers count among those who agree."""
    one, other = QuorumFreshness(member_id(0)), QuorumFreshness(member_id(1), counts=True)
    both = [member_id(0), member_id(1)]
    other.merge(both, both)
    one.merge(both, other.counted)
    assert not one.counts
    assert (one.digest, one.counted) == (other.digest, other.counted)


def test_the_digest_is_of_the_members_and_who_ever_counted() -> None:
    """Whoever says it, and in whatever order they came."""
    one, other = QuorumFreshness(member_id(0)), QuorumFreshness(member_id(1))
    one.merge([member_id(1), member_id(2)], [])
    other.merge([member_id(2)], [])
    assert one.digest != other.digest
    other.merge([member_id(0)], [])
    assert one.digest == other.digest
    other.counts = True
    assert one.digest != other.digest
    assert one.merge([], [member_id(1)])
    assert one.digest == other.digest
    one.drop(member_id(2))
    assert one.digest != other.digest


def test_one_that_lost_its_disk_thinks_as_the_others_do() -> None:
    """That it has counted before: else nobody's answer would ever count for it."""
    other = one_of(3)
    one = QuorumFreshness(member_id(1))
    one.merge([member_id(0), *other.others], other.counted)
    assert one.digest == other.digest
    assert one.needed == 2


def test_new_ones_are_admitted_together_and_then_nobody_until_they_count() -> None:
    """By one that counts itself."""
    one = QuorumFreshness(member_id(0))
    assert not one.admit([member_id(1)])
    one.counts = True
    assert one.admit([member_id(0), member_id(1), member_id(2)])
    assert one.waiting == one.others
    assert not one.admit([member_id(3)])
    one.compared(member_id(1), 1.0)
    assert not one.admit([member_id(3)])
    one.merge([], [member_id(2), member_id(9)])
    assert one.waiting == ()
    assert one.admit([member_id(3)])
    assert len(one.others) == 3


def test_who_counts_alone_goes_on_until_the_one_that_it_let_in_counts() -> None:
    """And for as long after that as if it had compared then: there was no majority without it."""
    one = one_of(1)
    one.admit([member_id(1)])
    assert (one.needed, one.until(STALENESS)) == (1, math.inf)
    one.merge([], [member_id(1)], 20.0)
    assert one.until(STALENESS) == 20.0 + STALENESS
    one.merge([], [member_id(1)], 30.0)
    assert one.until(STALENESS) == 20.0 + STALENESS
    one.compared(member_id(1), 31.0)
    assert one.until(STALENESS) == 31.0 + STALENESS


def test_who_counts_alone_does_not_outlast_two_newcomers() -> None:
    """They may count by its answers, and acknowledge without it; nor what a disk says of one."""
    one = one_of(1)
    one.admit([member_id(1), member_id(2)])
    assert one.until(STALENESS) == -math.inf
    for counts in (True, False):
        again = QuorumFreshness(member_id(0), counts=counts)
        again.merge([member_id(1)], [member_id(1)])
        assert again.until(STALENESS) == -math.inf
    joiner = QuorumFreshness(member_id(1))
    joiner.merge([member_id(0)], [])
    assert joiner.until(STALENESS) == -math.inf


def test_one_that_is_forgotten_goes_once_a_majority_was_asked_since() -> None:
    """Until then it is one of those who make up a majority; at once, by the word of a person."""
    one = one_of(5)
    for index in (1, 2, 3):
        one.compared(member_id(index), 10.0)
    one.leave(member_id(4), 11.0)
    one.compared(member_id(1), 12.0)
    assert len(one.others) == 4
    one.compared(member_id(2), 11.5)
    assert one.others == (member_id(1), member_id(2), member_id(3))
    one.drop(member_id(3))
    assert one.others == (member_id(1), member_id(2))


def test_who_waits_to_let_one_go_goes_with_one_that_has() -> None:
    """Nobody else thinks the same any more: answers of one's own would not count."""
    one = one_of(4)
    one.leave(member_id(3), 11.0)
    assert one.leaving == (member_id(3),)
    assert not one.let_go([member_id(index) for index in range(4)])
    assert one.let_go([member_id(0), member_id(1)])
    assert one.others == (member_id(1), member_id(2))
    assert one.leaving == ()


class Member:
    """One of the model: what it knows, what it has forgotten, and until when it admits."""

    def __init__(self, index: int, *, counts: bool) -> None:
        self.index = index
        self.id = member_id(index)
        self.known: set[int] = set()
        self.gone: set[int] = set()
        self.met: set[bytes] = set()  # whose certificates it knows
        self.fresh = QuorumFreshness(self.id, counts=counts)

    def members(self) -> list[bytes]:
        return [self.id, *self.fresh.others]

    def follow(self, other: "Member") -> None:
        """Drop whom another has dropped: all that it knew is here."""
        assert self.known >= other.known
        if other.fresh.counts:
            self.fresh.let_go(other.members())


def test_of_two_who_are_evicted_each_goes_by_a_majority_of_its_own() -> None:
    """Two evictions wait on one machine. It must not go from five members to three at once."""
    cluster = Cluster()
    cluster.begin(count=5)
    one, two, three, _, _ = cluster.all
    cluster.forget(2, 3)
    cluster.forget(2, 4)
    cluster.wait(1.0)
    for whom in (0, 1):
        cluster.ask(2, whom)
        cluster.answer(0, lost=False, hears=False)
    cluster.compare(2, 0)
    cluster.revoke(2)
    cluster.tell(0, 0)
    for who, whom in ((1, 3), (1, 4), (3, 1), (3, 4)):
        cluster.compare(who, whom)
    cluster.wait(6.0)
    for who, whom in ((1, 3), (1, 4), (3, 1), (3, 4)):
        cluster.compare(who, whom)
    assert two.fresh.until(STALENESS) > cluster.now
    cluster.who_admits_knows()
    assert not cluster.acknowledged
    for _ in range(3):  # the network is whole again
        for who, whom in permutations(range(3), 2):
            cluster.compare(who, whom)
    assert [len(each.members()) for each in (one, two, three)] == [3, 3, 3]
    cluster.revoke_by_quorum(0)
    assert cluster.acknowledged
    assert min(each.fresh.until(STALENESS) for each in (one, two, three)) > cluster.now


def test_who_hears_of_an_eviction_drops_nobody_before_it_knows_as_much() -> None:
    """Of five, two are evicted that alone share with a third what they have acknowledged.

    If the other two dropped them by hearsay, they would be a majority of three and lack it.
    """
    cluster = Cluster()
    cluster.begin(count=5)
    cluster.revoke(0)
    cluster.tell(3, 0)
    cluster.tell(4, 0)
    assert cluster.acknowledged
    cluster.forget(0, 3)
    cluster.forget(0, 4)
    for _ in range(8):  # both sides hear of the members, and one of them of the revocation
        cluster.wait(0.1)
        for whom in (1, 2):
            cluster.compare(0, whom)
    cluster.wait(6.0)
    for who, whom in ((1, 2), (2, 1)):
        cluster.compare(who, whom)
    cluster.who_admits_knows()
    for _ in range(4):  # nothing is lost any more
        for who, whom in permutations(range(3), 2):
            cluster.compare(who, whom)
    assert [len(cluster.one(who).members()) for who in range(3)] == [3, 3, 3]
    assert min(cluster.one(who).fresh.until(STALENESS) for who in range(3)) > cluster.now
    cluster.who_admits_knows()


@pytest.mark.parametrize("count", [4, 5, 6])
def test_two_who_each_send_another_away_do_not_part(count: int) -> None:
    """Two machines evict a different member each. Only one view of the members may go on."""
    cluster = Cluster()
    cluster.begin(count=count)
    cluster.forget(0, 2)
    cluster.forget(1, 3)
    cluster.wait(1.0)
    for who in (0, 1):
        for whom in range(count):
            cluster.ask(who, whom)
            if cluster.asked:
                cluster.answer(0, lost=False, hears=False)
    assert [len(cluster.one(who).members()) for who in (0, 1)] == [count, count]
    stays = [0, 1, *range(4, count)]
    for _ in range(4):
        for who, whom in permutations(stays, 2):
            cluster.compare(who, whom)
    alone = count == 4  # two of four are no majority: a person must say that they go on
    left = count if alone else len(stays)
    assert {len(cluster.one(who).members()) for who in stays} == {left}


class Cluster(RuleBasedStateMachine):
    """Members that revoke, join, forget, lose their disks and compare, in any order and delay."""

    @initialize(count=st.integers(1, 5))
    def begin(self, count: int) -> None:
        """So many, who all know one another."""
        self.now = 0.0
        self.all = [Member(index, counts=True) for index in range(count)]
        for each in self.all:
            members = [member_id(index) for index in range(count)]
            each.fresh.merge(members, members)
        self.origins: list[int] = []
        self.acks: list[dict[int, tuple[float, bytes]]] = []
        self.acknowledged: dict[int, float] = {}
        self.asked: list[tuple[Member, Member, float]] = []

    def one(self, who: int) -> Member:
        return self.all[who % len(self.all)]

    @rule(who=WHO)
    def revoke(self, who: int) -> None:
        """One of them revokes; it knows that itself."""
        self.origins.append(self.one(who).index)
        self.acks.append({})
        self.tell(who, len(self.origins) - 1)

    @rule(who=WHO, which=st.integers(0, 20))
    def tell(self, who: int, which: int) -> None:
        """A revocation reaches one of them, which says so; enough of that acknowledges it.

        What one has said counts for a while, and among the members of then (`AckTracker`).
        """
        if not self.origins:
            return
        number, one = which % len(self.origins), self.one(who)
        one.known.add(number)
        origin = self.all[self.origins[number]]
        if one.fresh.counts and one.fresh.digest == origin.fresh.digest:
            self.acks[number][one.index] = self.now, one.fresh.digest
        since = self.now - limits.receipt_answer_seconds
        acks = sum(
            at > since and among == origin.fresh.digest for at, among in self.acks[number].values()
        )
        if number in origin.known and acks >= majority(len(origin.members())):
            self.acknowledged.setdefault(number, self.now)

    @rule(first=WHO)
    def revoke_by_quorum(self, first: int) -> None:
        """One that a bare majority has at once: the others may be anywhere."""
        self.revoke(first)
        for who in range(first, first + majority(len(self.all))):
            self.tell(who, len(self.origins) - 1)

    @rule(who=WHO, whom=WHO)
    def compare(self, who: int, whom: int) -> None:
        """A comparison that takes no time."""
        before = len(self.asked)
        self.ask(who, whom)
        if len(self.asked) > before:
            self.answer(before, lost=False, hears=True)

    @rule(who=WHO, whom=WHO)
    def ask(self, who: int, whom: int) -> None:
        """A comparison begins; who was evicted is answered no more."""
        one, other = self.one(who), self.one(whom)
        if one is not other and other.id in one.fresh.others and one.index not in other.gone:
            self.asked.append((one, other, self.now))

    @rule(which=st.integers(0, 20), lost=st.booleans(), hears=st.booleans())
    def answer(self, which: int, *, lost: bool, hears: bool) -> None:
        """It ends, whenever it does, with all that the other knows then; or in nothing.

        Of who is a member both hear over a stream alone.
        """
        if not self.asked:
            return
        one, other, at = self.asked.pop(which % len(self.asked))
        if lost or self.all[one.index] is not one or self.all[other.index] is not other:
            return
        is_same = one.fresh.digest == other.fresh.digest
        one.known |= other.known
        if hears:
            self.hear(one, other)
            one.follow(other)
            self.hear(other, one)
        if is_same and other.fresh.counts:
            one.fresh.compared(other.id, at)

    def hear(self, one: Member, other: Member) -> None:
        """Members, and who of them is forgotten: over a stream."""
        for gone in sorted(other.gone - one.gone):
            one.gone.add(gone)
            one.fresh.leave(member_id(gone), self.now)
        gone = {member_id(index) for index in one.gone}
        one.met |= other.met - gone
        members = [each for each in other.members() if each not in gone]
        one.fresh.merge(members, other.fresh.counted, self.now)

    @rule(contact=WHO)
    def join(self, contact: int) -> None:
        """Somebody new comes by way of one of them."""
        if len(self.all) < COUNT_MAX:
            one, other = Member(len(self.all), counts=False), self.one(contact)
            self.all.append(one)
            other.met.add(one.id)
            self.hear(one, other)

    @rule(who=WHO)
    def admit(self, who: int) -> None:
        """One of them lets in all whom it has met."""
        one = self.one(who)
        one.fresh.admit(one.met)

    @rule(who=WHO, whom=WHO)
    def sync(self, who: int, whom: int) -> None:
        """Over a stream, where each lets in whom it has met, and both hear of that."""
        one, other = self.one(who), self.one(whom)
        if one is not other:
            for each in (one, other):
                each.fresh.admit(each.met)
            self.ask(who, whom)
            if self.asked and self.asked[-1][:2] == (one, other):
                self.answer(len(self.asked) - 1, lost=False, hears=True)

    @rule(who=WHO, contact=WHO, keeps=st.booleans())
    def restart(self, who: int, contact: int, *, keeps: bool) -> None:
        """With its disk, or an empty one; nothing was compared since."""
        old = self.one(who)
        one = Member(old.index, counts=keeps and old.fresh.counts)
        self.all[old.index] = one
        if keeps:
            one.known, one.gone, one.met = old.known, old.gone, old.met
            one.fresh.merge(old.members(), old.fresh.counted)
            for gone in sorted(one.gone):
                one.fresh.leave(member_id(gone), self.now)
        other = self.one(contact)
        if other is not one:
            self.hear(one, other)

    @rule(who=WHO, whom=WHO)
    def forget(self, who: int, whom: int) -> None:
        """A person evicts a member on one machine. Other evictions may be under way."""
        one, other = self.one(who), self.one(whom)
        pending = {index for each in self.all for index in each.gone}
        if one is not other and one.index not in pending:
            one.gone.add(other.index)
            one.fresh.leave(other.id, self.now)

    @rule(seconds=st.sampled_from([0.1, 1.0, 3.0, 6.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds

    @invariant()
    def who_admits_knows(self) -> None:
        """The guarantee."""
        for each in getattr(self, "all", []):
            if each.fresh.until(STALENESS) > self.now:
                due = {n for n, at in self.acknowledged.items() if self.now >= at + STALENESS}
                assert due <= each.known


TestCluster = Cluster.TestCase
