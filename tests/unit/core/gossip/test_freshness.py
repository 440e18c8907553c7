"""Whoever still admits knows what a majority has acknowledged, whatever the network did."""

import math

import pytest
from gossip_world import member_id
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from crewgate.core.gossip.freshness import Freshness, majority

STALENESS = 5.0
WHO = st.integers(0, 4)


@pytest.mark.parametrize(
    ("count", "needed"), [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2), (6, 3), (7, 3), (1000, 500)]
)
def test_with_oneself_they_are_more_than_half(count: int, needed: int) -> None:
    """Of all members, whether they are there or not; one other where that is enough."""
    one, pair = Freshness(member_id(0)), Freshness(member_id(0), any_other=True)
    for each in (one, pair):
        each.join(member_id(index) for index in range(count))
    assert (one.needed, pair.needed) == (needed, min(1, count - 1))
    assert majority(count) == needed + 1


def test_until_when() -> None:
    """As long after the question as may be, of the last that makes up the majority."""
    one = Freshness(member_id(0))
    assert one.until(STALENESS) == math.inf
    one.join(member_id(index) for index in range(5))
    assert one.until(STALENESS) == -math.inf
    one.compared(member_id(1), 10.0)
    assert one.until(STALENESS) == -math.inf
    one.compared(member_id(2), 12.0)
    one.compared(member_id(2), 11.0)
    one.compared(member_id(99), 50.0)
    assert one.until(STALENESS) == 15.0
    one.compared(member_id(3), 14.0)
    assert one.until(STALENESS) == 17.0
    one.leave(member_id(3))
    one.leave(member_id(4))
    assert one.until(STALENESS) == 17.0
    one.leave(member_id(2))
    assert one.until(STALENESS) == 15.0


class Cluster(RuleBasedStateMachine):
    """Members that revoke, are told of it or not, and compare, in any order and with any delay."""

    @initialize(count=st.integers(2, 5))
    def begin(self, count: int) -> None:
        """So many, who all know one another."""
        self.now = 0.0
        self.known: list[set[int]] = [set() for _ in range(count)]
        self.fresh = [Freshness(member_id(index)) for index in range(count)]
        for each in self.fresh:
            each.join(member_id(index) for index in range(count))
        self.origins: list[int] = []
        self.acknowledged: dict[int, float] = {}
        self.asked: list[tuple[int, int, float]] = []

    @rule(who=WHO)
    def revoke(self, who: int) -> None:
        """One of them revokes; it knows that itself."""
        number = len(self.origins)
        self.origins.append(who % len(self.known))
        self.known[who % len(self.known)].add(number)

    @rule(who=WHO, which=st.integers(0, 20))
    def tell(self, who: int, which: int) -> None:
        """A revocation reaches one of them; a majority of those who know acknowledges it."""
        if not self.origins:
            return
        number = which % len(self.origins)
        self.known[who % len(self.known)].add(number)
        knowing = sum(number in each for each in self.known)
        if knowing >= majority(len(self.known)):
            self.acknowledged.setdefault(number, self.now)

    @rule(first=WHO)
    def revoke_by_quorum(self, first: int) -> None:
        """One that a bare majority has at once: the others may be anywhere."""
        number, count = len(self.origins), len(self.known)
        self.origins.append(first % count)
        for who in range(first, first + majority(count)):
            self.tell(who, number)

    @rule(who=WHO, whom=WHO)
    def compare(self, who: int, whom: int) -> None:
        """A comparison that takes no time."""
        self.ask(who, whom)
        if self.asked:
            self.answer(len(self.asked) - 1, lost=False)

    @rule(who=WHO, whom=WHO)
    def ask(self, who: int, whom: int) -> None:
        """A comparison begins."""
        who, whom = who % len(self.known), whom % len(self.known)
        if who != whom:
            self.asked.append((who, whom, self.now))

    @rule(which=st.integers(0, 20), lost=st.booleans())
    def answer(self, which: int, *, lost: bool) -> None:
        """It ends, whenever it does, with all that the other knows then; or in nothing."""
        if not self.asked:
            return
        who, whom, at = self.asked.pop(which % len(self.asked))
        if not lost:
            self.known[who] |= self.known[whom]
            self.fresh[who].compared(member_id(whom), at)

    @rule(seconds=st.sampled_from([0.1, 1.0, 3.0, 6.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds

    @invariant()
    def who_admits_knows(self) -> None:
        """The guarantee."""
        for known, fresh in zip(
            getattr(self, "known", []), getattr(self, "fresh", []), strict=True
        ):
            if fresh.until(STALENESS) > self.now:
                due = {n for n, at in self.acknowledged.items() if self.now >= at + STALENESS}
                assert due <= known


TestCluster = Cluster.TestCase
