"""SWIM: who is there, who is suspected, who is gone; and nobody is, only because it was said."""

import random

import pytest
from gossip_world import Network, World, address_of, know, member_id

from crewgate import limits
from crewgate.core.gossip.membership import Membership
from crewgate.core.gossip.messages import (
    Ack,
    MemberAddress,
    MemberState,
    MemberUpdate,
    Ping,
    PingRequest,
    decode,
)

ME, YOU, THIRD = member_id(0), member_id(1), member_id(2)
DIGEST = bytes(8)


def members(count: int = 3) -> Membership:
    """Of member 0, who knows so many."""
    one = Membership(ME, address_of(0), random.Random(1))
    know(one, [update(index) for index in range(count)], 0.0)
    return one


def update(
    index: int, state: MemberState = MemberState.ALIVE, incarnation: int = 0
) -> MemberUpdate:
    """What somebody thinks of a member."""
    return MemberUpdate(member_id(index), state, incarnation, address_of(index))


def state(one: Membership, index: int) -> MemberState | None:
    """What it thinks of a member."""
    found = one.get(member_id(index))
    return found.state if found else None


def test_a_ping_is_answered_with_what_was_asked() -> None:
    """And with one's own digest."""
    [(to, data)] = members().pinged(YOU, Ping(7, DIGEST), b"d" * 8, 0.0)
    assert (to, decode(data)) == (YOU, Ack(7, b"d" * 8))


def test_who_does_not_answer_is_asked_for_by_others_then_suspected_then_dead() -> None:
    """In bounded time, and only by those who had a chance to hear of it."""
    one = members()
    [(target, data)] = one.due(DIGEST, 0.0)
    probe = decode(data)
    assert isinstance(probe, Ping)
    now = limits.probe_answer_seconds
    [(helper, data)] = one.due(DIGEST, now)
    assert decode(data) == PingRequest(probe.probe, target)
    assert {target, helper} == {YOU, THIRD}
    one.due(DIGEST, limits.probe_seconds)
    index = 1 if target == YOU else 2
    assert state(one, index) is MemberState.SUSPECT
    assert target in one.reachable
    for tick in range(600):
        now = 0.5 + tick / 10
        for peer, data in one.due(DIGEST, now):
            asked = decode(data)
            if peer == helper and isinstance(asked, Ping):
                one.acked(Ack(asked.probe, DIGEST), now)
    assert state(one, index) is MemberState.DEAD
    assert one.reachable == [helper]


def test_an_answer_by_a_helper_counts() -> None:
    """Whoever is reached by somebody is there."""
    one, helper = members(), Membership(YOU, address_of(1), random.Random(2))
    know(helper, [update(index) for index in range(3)], 0.0)
    [(asked, data)] = helper.asked(ME, PingRequest(9, THIRD), DIGEST, 0.0)
    relayed = decode(data)
    assert isinstance(relayed, Ping)
    assert asked == THIRD
    [(back, data)] = helper.acked(Ack(relayed.probe, b"t" * 8), 0.1)
    assert (back, decode(data)) == (ME, Ack(9, b"t" * 8))
    assert helper.acked(Ack(relayed.probe, DIGEST), 0.1) == []
    assert one.acked(Ack(9, DIGEST), 0.1) == []


def test_whoever_is_not_known_is_not_probed_for_others() -> None:
    """Nobody sends our datagrams to whom he likes."""
    assert members().asked(YOU, PingRequest(1, member_id(77)), DIGEST, 0.0) == []


def test_what_is_said_of_oneself_is_outdone() -> None:
    """A suspicion, a death and a farewell that are not true, as of a newer incarnation."""
    for number, gone in enumerate((MemberState.SUSPECT, MemberState.DEAD, MemberState.LEFT)):
        one = members()
        one.merge([update(0, gone, number)], 0.0)
        [(_, data)] = one.pinged(YOU, Ping(1, DIGEST), DIGEST, 0.0)
        ack = decode(data)
        assert isinstance(ack, Ack)
        assert ack.updates == (update(0, MemberState.ALIVE, number + 1),)


@pytest.mark.parametrize(
    ("heard", "then"),
    [
        ([(MemberState.SUSPECT, 0)], MemberState.SUSPECT),
        ([(MemberState.SUSPECT, 0), (MemberState.ALIVE, 0)], MemberState.SUSPECT),
        ([(MemberState.SUSPECT, 0), (MemberState.ALIVE, 1)], MemberState.ALIVE),
        ([(MemberState.DEAD, 3), (MemberState.SUSPECT, 3)], MemberState.DEAD),
        ([(MemberState.DEAD, 3), (MemberState.ALIVE, 3)], MemberState.DEAD),
        ([(MemberState.DEAD, 3), (MemberState.ALIVE, 4)], MemberState.ALIVE),
        ([(MemberState.LEFT, 0), (MemberState.DEAD, 0)], MemberState.LEFT),
        ([(MemberState.DEAD, limits.incarnation_max + 1)], MemberState.ALIVE),
    ],
)
def test_the_newer_word_counts(heard: list[tuple[MemberState, int]], then: MemberState) -> None:
    """By incarnation, and at one incarnation the worse; in any order the same."""
    for turn in (heard, heard[::-1]):
        one = members()
        for said, incarnation in turn:
            one.merge([update(1, said, incarnation)], 0.0)
        assert state(one, 1) is then


def test_who_is_dead_and_speaks_is_told_so() -> None:
    """So that it can object: a night's partition is no death."""
    one, other = members(), Membership(YOU, address_of(1), random.Random(3))
    know(other, [update(0)], 0.0)
    one.merge([update(1, MemberState.DEAD, 5)], 0.0)
    [(_, data)] = one.pinged(YOU, Ping(1, DIGEST), DIGEST, 1.0)
    ack = decode(data)
    assert isinstance(ack, Ack)
    other.merge(ack.updates, 1.0)
    [(_, data)] = other.pinged(ME, Ping(2, DIGEST), DIGEST, 1.0)
    back = decode(data)
    assert isinstance(back, Ack)
    one.merge(back.updates, 1.0)
    assert state(one, 1) is MemberState.ALIVE


def test_who_is_met_is_there_whatever_was_heard() -> None:
    """Over a stream that showed its certificate, at its new address."""
    one = members()
    one.merge([update(1, MemberState.DEAD, 5)], 0.0)
    one.join(YOU, MemberAddress(bytes(16), 1), 1.0)
    found = one.get(YOU)
    assert found is not None
    assert (found.state, found.incarnation, found.address.port) == (MemberState.ALIVE, 6, 1)
    one.forget(YOU)
    assert one.get(YOU) is None
    assert one.reachable == [THIRD]


def test_nobody_is_invented() -> None:
    """Else a liar's members would be told, in the place of those who are there."""
    one = members()
    one.merge([update(9), update(8, MemberState.DEAD)], 0.0)
    assert (state(one, 9), state(one, 8)) == (None, None)
    assert one.reachable == [YOU, THIRD]


def test_nobody_is_moved_by_what_others_say() -> None:
    """Else a liar would have all that is said to others, and could answer for them."""
    one = members()
    lie = MemberUpdate(YOU, MemberState.ALIVE, 7, MemberAddress(bytes(16), 1))
    one.merge([lie], 0.0)
    found = one.get(YOU)
    assert found is not None
    assert (found.incarnation, found.address) == (7, address_of(1))
    assert found.update() == update(1, incarnation=7)


def test_one_whose_certificate_is_seen_again_stays_dead() -> None:
    """That it has one is no sign of life; where it is reached may be news."""
    one = members()
    one.merge([update(1, MemberState.DEAD, 5)], 0.0)
    one.introduce(YOU, MemberAddress(bytes(16), 1), 1.0)
    found = one.get(YOU)
    assert found is not None
    assert (found.state, found.incarnation, found.address.port) == (MemberState.DEAD, 5, 1)
    one.introduce(member_id(9), address_of(9), 1.0)
    assert state(one, 9) is MemberState.ALIVE


def test_a_farewell_is_no_failure() -> None:
    """It is told to some, and they tell others."""
    one, other = members(), Membership(YOU, address_of(1), random.Random(3))
    know(other, [update(0)], 0.0)
    for _, data in one.leave():
        ping = decode(data)
        assert isinstance(ping, Ping)
        other.pinged(ME, ping, DIGEST, 0.0)
    assert state(other, 0) is MemberState.LEFT
    assert other.reachable == []


def test_one_that_crashes_is_dead_to_all_and_back_when_it_is_back() -> None:
    """In a world that loses a fifth of all datagrams, nobody else is thought dead meanwhile."""
    world = World(12, 5, Network(loss=0.2))
    world.run(5)
    world.crash(3)
    world.run(60)
    there = [len(machine.node.members.reachable) for machine in world.machines if machine.up]
    assert there == [10] * 11
    world.restart(3)
    world.run(60)
    assert {len(machine.node.members.reachable) for machine in world.machines} == {11}
