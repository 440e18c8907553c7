"""Receipts: who has it in force and on its disk, and whether a majority that counts has."""

import pytest
from gossip_world import member_id

from crewgate import limits
from crewgate.core.gossip.acknowledgements import AckState, AckTracker
from crewgate.core.gossip.messages import PersistAck, PersistQuery, decode
from crewgate.core.gossip.quorum_freshness import QuorumFreshness

ME = member_id(0)
HOLDS = limits.receipt_answer_seconds


def ids(*numbers: int) -> tuple[bytes, ...]:
    """Ids like no others."""
    return tuple(number.to_bytes(20) for number in numbers)


class One:
    """The receipts of one of so many members; `here` is what it holds."""

    def __init__(self, count: int = 5, *, counts: bool = True) -> None:
        self.here: set[bytes] = set()
        self.fresh = QuorumFreshness(ME, counts=counts)
        everybody = [member_id(index) for index in range(count)]
        self.fresh.merge(everybody, everybody)
        self.receipts = AckTracker(self.fresh, self.here.__contains__)

    def accept(self, *numbers: int) -> None:
        """In force, and not on the disk yet."""
        for id_ in ids(*numbers):
            self.here.add(id_)
            self.receipts.accepted(id_)

    def keep(self, *numbers: int, now: float = 0.0) -> None:
        """On the disk."""
        self.receipts.kept(ids(*numbers), now)

    def begin(self, *numbers: int, now: float = 0.0) -> AckState:
        """Of what is here and on the disk."""
        self.accept(*numbers)
        self.keep(*numbers, now=now)
        return self.receipts.begin(ids(*numbers), now)

    def tell(
        self,
        index: int,
        *numbers: int,
        asked: float = 0.0,
        now: float | None = None,
        counts: bool = True,
        members: bytes = b"",
    ) -> list[AckState]:
        """A member has these."""
        kept = PersistAck(int(asked * 1000), members or self.fresh.digest, counts, ids(*numbers))
        return self.receipts.on_ack(member_id(index), kept, asked if now is None else now)

    def checks(self, now: float) -> dict[int, tuple[bytes, ...]]:
        """Who is asked for what."""
        asked: dict[int, tuple[bytes, ...]] = {}
        indexes = {member_id(index): index for index in range(1000)}
        for member, data in self.receipts.due(now):
            check = decode(data)
            assert isinstance(check, PersistQuery)
            assert check.asked == int(now * 1000)
            asked[indexes[member]] = asked.get(indexes[member], ()) + check.ids
        return asked


def test_all_others_are_asked_until_they_say_that_they_have_it() -> None:
    """Soon, and then less often."""
    one = One(3)
    receipt = one.begin(7)
    assert (receipt.of, receipt.applied_on, receipt.has_quorum) == (3, 1, False)
    assert one.checks(0.0) == {1: ids(7), 2: ids(7)}
    assert one.receipts.next_at == limits.check_again_seconds[0]
    assert one.checks(0.01) == {}
    assert one.tell(1, 7) == [receipt]
    assert (receipt.applied_on, receipt.missing) == (2, [member_id(2)])
    now = 0.0
    for pause in (*limits.check_again_seconds, limits.check_again_seconds[-1]):
        now += pause
        assert one.checks(now) == {2: ids(7)}
    one.tell(2, 7, asked=now)
    assert receipt.is_everywhere
    one.tell(2, 7, asked=now + 1)
    assert one.checks(99.0) == {}


def test_a_majority_is_more_than_half_with_oneself() -> None:
    """Of all members, reachable or not."""
    one = One(5)
    receipt = one.begin(1)
    for index in (1, 2):
        assert not receipt.has_quorum
        one.tell(index, 1)
    assert receipt.has_quorum
    assert not receipt.is_everywhere
    assert receipt.missing == [member_id(3), member_id(4)]


def test_one_alone_is_a_majority_once_its_disk_has_it() -> None:
    """And not before."""
    one = One(1)
    one.accept(1)
    receipt = one.receipts.begin(ids(1), 0.0)
    assert (receipt.applied_on, receipt.has_quorum, receipt.is_kept_here) == (0, False, False)
    one.accept(2)
    one.keep(2)
    assert not receipt.has_quorum
    assert one.receipts.kept(ids(1), 2.0) == ([], [receipt])
    assert (receipt.is_everywhere, receipt.has_quorum) == (True, True)


def test_what_is_not_on_our_own_disk_does_not_count() -> None:
    """Others may be enough without it."""
    one = One(3)
    one.accept(1, 2)
    receipt = one.receipts.begin(ids(1, 2), 0.0)
    one.tell(1, 1, 2)
    one.keep(1)
    assert (receipt.applied_on, receipt.has_quorum) == (1, False)
    one.tell(2, 1, 2)
    assert (receipt.applied_on, receipt.has_quorum, receipt.is_everywhere) == (2, True, False)


def test_who_does_not_count_has_it_and_is_no_part_of_a_majority() -> None:
    """Nor one that knows other members; it is asked again, and may count by then."""
    one = One(3)
    receipt = one.begin(1)
    one.tell(1, 1, counts=False)
    one.tell(2, 1, members=b"others' ")
    assert (receipt.is_everywhere, receipt.has_quorum) == (True, False)
    assert one.checks(0.1) == {1: ids(1), 2: ids(1)}
    one.tell(1, 1, asked=0.1)
    assert receipt.has_quorum
    assert one.checks(9.0) == {}


def test_one_that_does_not_count_itself_may_later() -> None:
    """A receipt does not wait for ever for it."""
    one = One(3, counts=False)
    receipt = one.begin(1)
    one.tell(1, 1)
    assert not receipt.has_quorum
    one.fresh.counts = True
    one.tell(1, 1, asked=0.1)
    assert receipt.has_quorum


def test_what_was_said_counts_for_a_while() -> None:
    """As long as one that lost its disk since does not count; it is asked again in time."""
    one = One(5)
    receipt = one.begin(1)
    one.tell(1, 1, asked=0.0, now=0.3)
    one.tell(2, 1, asked=HOLDS, now=HOLDS)
    assert not receipt.has_quorum
    assert set(one.checks(HOLDS)) == {1, 3, 4}
    one.tell(1, 1, asked=0.0, now=HOLDS)
    assert not receipt.has_quorum
    one.tell(1, 1, asked=HOLDS, now=HOLDS + 0.1)
    assert receipt.has_quorum
    assert one.checks(HOLDS * 9) == {3: ids(1), 4: ids(1)}


def test_what_was_said_counts_from_when_it_was_asked() -> None:
    """Not from when it came, nor from when a liar says."""
    one = One(5)
    receipt = one.begin(1)
    one.tell(1, 1, asked=99.0, now=0.0)
    one.tell(2, 1, asked=0.5, now=HOLDS + 0.2)
    assert not receipt.has_quorum
    one.tell(3, 1, asked=0.5, now=HOLDS + 0.2)
    assert receipt.has_quorum


def test_what_is_said_in_parts_counts_from_the_first() -> None:
    """And only of what one disk had: the first part is asked for again after a while."""
    one = One(3)
    many = range(1, 2 * limits.gossip_ids_max)
    receipt = one.begin(*many)
    assert one.checks(0.0) == {1: ids(*many), 2: ids(*many)}
    one.tell(1, *many[:60], asked=0.0)
    assert one.checks(0.1)[1] == ids(*many[60:])
    assert set(one.checks(HOLDS)[1]) == set(ids(*many))
    one.tell(1, *many[60:], asked=HOLDS)
    assert (receipt.applied_on, receipt.has_quorum) == (2, False)
    one.tell(1, *many[:60], asked=HOLDS + 0.1)
    assert receipt.has_quorum


def test_other_members_are_asked_anew() -> None:
    """A majority of those of before is none of those of now; who is gone is missed by nobody."""
    one = One(3)
    receipt = one.begin(1)
    one.fresh.merge([member_id(3), member_id(4)], [member_id(3), member_id(4)])
    one.tell(1, 1)
    assert (receipt.of, receipt.has_quorum) == (5, False)
    assert set(one.checks(0.1)) == {2, 3, 4}
    one.fresh.drop(member_id(3))
    one.tell(2, 1, asked=0.2)
    assert (receipt.of, receipt.has_quorum) == (4, False)
    one.tell(3, 1, asked=0.2)
    assert set(one.checks(0.3)) == {1, 4}
    one.tell(1, 1, asked=0.3)
    assert receipt.has_quorum


def test_parts_that_were_told_among_other_members_are_told_again() -> None:
    """Nothing is added up that was said among others."""
    one = One(3)
    receipt = one.begin(1, 2)
    one.tell(1, 1)
    one.fresh.merge([member_id(3)], [member_id(3)])
    one.tell(1, 2, asked=0.1)
    one.tell(2, 1, 2, asked=0.1)
    assert (receipt.applied_on, receipt.has_quorum) == (3, False)
    one.tell(1, 1, asked=0.1)
    assert receipt.has_quorum


def test_what_is_here_and_on_the_disk_is_told_at_once_the_rest_when_it_is() -> None:
    """To whoever asks, with when it was last asked."""
    one = One(3)
    one.accept(1, 2)
    one.keep(1)
    [(to, data)] = one.receipts.checked(member_id(1), PersistQuery(5, ids(1, 2, 3)))
    assert (to, decode(data)) == (member_id(1), PersistAck(5, one.fresh.digest, True, ids(1)))
    assert one.receipts.checked(member_id(1), PersistQuery(9, ids(2, 3))) == []
    assert one.receipts.checked(member_id(2), PersistQuery(4, ids(2))) == []
    sends, _ = one.receipts.kept(ids(2), 0.0)
    assert {to: decode(data) for to, data in sends} == {
        member_id(1): PersistAck(9, one.fresh.digest, True, ids(2)),
        member_id(2): PersistAck(4, one.fresh.digest, True, ids(2)),
    }
    one.accept(3)
    one.receipts.forget_askers()
    assert one.receipts.kept(ids(3), 0.0) == ([], [])


def test_who_does_not_count_says_so() -> None:
    """With whom it takes for members."""
    one = One(4, counts=False)
    one.accept(1)
    one.keep(1)
    [(_, data)] = one.receipts.checked(member_id(1), PersistQuery(5, ids(1)))
    assert decode(data) == PersistAck(5, one.fresh.digest, False, ids(1))


def test_made_up_ids_are_remembered_in_bounded_number() -> None:
    """And keep nobody from asking for what is real, a moment later."""
    one = One(3)
    for turn in range(limits.checks_max // limits.gossip_ids_max + 2):
        made_up = ids(*range(1000 * turn + 1, 1000 * turn + limits.gossip_ids_max))
        assert one.receipts.checked(member_id(1), PersistQuery(1, made_up)) == []
    assert len(one.receipts._askers) <= limits.checks_max
    one.receipts.forget_askers()
    one.receipts.checked(member_id(1), PersistQuery(1, ids(10**9)))
    one.accept(10**9)
    assert len(one.receipts.kept(ids(10**9), 0.0)[0]) == 1


def test_many_receipts_are_asked_for_in_one_message() -> None:
    """As many as fit."""
    one = One(3)
    for number in range(limits.gossip_ids_max):
        one.begin(number)
    assert len(one.receipts.due(0.0)) == 2


def test_receipts_are_bounded_and_end() -> None:
    """One too many is refused, and one of nothing: it would be everywhere at once."""
    one = One(3)
    begun = [one.begin(number) for number in range(limits.receipts_max)]
    with pytest.raises(ValueError, match="already wait for acknowledgements, the maximum"):
        one.begin(10**6)
    one.receipts.end(begun[0])
    one.receipts.end(begun[0])
    assert one.tell(1, 0) == []
    with pytest.raises(ValueError, match="no capsule of it was stored"):
        one.receipts.begin([], 0.0)
    one.begin(10**6)
    for receipt in list(one.receipts._open):
        one.receipts.end(receipt)
    one.receipts.due(99.0)
    assert (one.receipts._waiting, one.receipts.next_at) == ({}, float("inf"))


def test_two_may_wait_for_the_same() -> None:
    """What is told changes both, and what ends the one keeps the other."""
    one = One(3)
    first, second = one.begin(1), one.begin(1, 2)
    assert one.tell(1, 1) == [first, second]
    one.receipts.end(first)
    assert one.tell(2, 1) == [second]


@pytest.mark.parametrize("index", [0, 9])
def test_who_is_no_other_member_tells_nothing(index: int) -> None:
    """Nor what nobody waits for."""
    one = One(3)
    receipt = one.begin(1)
    assert one.tell(index, 1) == []
    assert one.tell(1, 2) == []
    assert receipt.applied_on == 1
