"""One member: what it makes of each message, and that nothing bad changes anything."""

import random

import pytest
from gossip_capsules import capsule, entry, line
from gossip_world import CLUSTER, WALL, address_of, member_id, sign

from crewgate import limits
from crewgate.core.gossip.capsules import Capsule, seal, unsigned
from crewgate.core.gossip.effects import Crypto
from crewgate.core.gossip.freshness import Freshness
from crewgate.core.gossip.messages import (
    Ack,
    Carry,
    Have,
    Ping,
    State,
    Update,
    Want,
    decode,
    encode,
)
from crewgate.core.gossip.protocol import Node
from crewgate.errors import GossipError

YOU = member_id(1)


def verify(made: Capsule) -> bool:
    """Members 0 to 2 may revoke."""
    return any(
        made.origin == member_id(index) and made.signature == sign(index, made.signed(CLUSTER))
        for index in range(3)
    )


def node(index: int = 0) -> Node:
    """One of five, who knows the others."""
    one = Node(
        line(index, 9),
        CLUSTER,
        address_of(index),
        chance=random.Random(index),
        crypto=Crypto(verify, lambda message: sign(index, message), lambda: b"no guess"),
        freshness=Freshness(member_id(index), counts=True),
    )
    others = [Update(member_id(n), State.ALIVE, 0, address_of(n)) for n in range(5)]
    one.members.restore(others, 0.0)
    return one


def test_what_one_revokes_another_applies_keeps_and_tells() -> None:
    """All of it, once, however often it comes."""
    one, other = node(), node(1)
    entries = [entry(number) for number in range(30)]
    made = one.revoke(entries, 0.0, WALL)
    assert made.applied == entries
    assert len(made.kept) == 2
    to_other = [data for peer, data in made.sends if peer == YOU]
    applied = []
    for data in to_other * 3:
        effects = other.receive(member_id(0), data, 0.0, WALL)
        applied += effects.applied
        assert bool(effects.sends) == bool(effects.applied)
    assert sorted(applied) == sorted(entries)
    assert other.archive.digest == one.archive.digest


@pytest.mark.parametrize(
    "bad",
    [
        seal(capsule(), b"x" * 64),
        capsule(index=3),  # signed by one who may not revoke
        seal(capsule(index=1), capsule(index=2).signature),
        seal(made := unsigned(line(), 1, WALL, [entry()]), sign(0, made.signed(bytes(16)))),
    ],
    ids=["forged", "unauthorised", "another's", "another cluster"],
)
def test_what_no_origin_signed_changes_nothing(bad: Capsule) -> None:
    """Over a datagram or a stream."""
    one = node()
    with pytest.raises(GossipError):
        one.receive(YOU, encode(Carry(bad.raw)), 0.0, WALL)
    with pytest.raises(GossipError):
        one.take([bad.raw], 0.0, WALL)
    assert len(one.archive) == 0
    assert one.receive(YOU, encode(Have((bad.id,))), 0.0, WALL).sends


def test_every_bit_of_a_capsule_is_signed() -> None:
    """Wherever one is turned, nothing is applied."""
    one, raw = node(), capsule(index=1).raw
    for at in range(len(raw) * 8):
        turned = bytearray(raw)
        turned[at // 8] ^= 1 << at % 8
        with pytest.raises(GossipError):
            one.receive(YOU, encode(Carry(bytes(turned))), 0.0, WALL)
    assert len(one.archive) == 0


def test_what_is_lacking_is_asked_for_once_and_handed_over() -> None:
    """By id; not again of the next who has it, until the first has had its time."""
    one, other = node(), node(1)
    made = other.revoke([entry()], 0.0, WALL).kept[0]
    have = encode(Have((made[:20], bytes(20))))
    [(to, data)] = one.receive(YOU, have, 1.0, WALL).sends
    assert (to, decode(data)) == (YOU, Want((made[:20], bytes(20))))
    assert one.receive(member_id(2), have, 1.0, WALL).sends == []
    again = one.receive(member_id(2), have, 1.0 + limits.want_again_seconds, WALL).sends
    assert len(again) == 1
    [(_, carried)] = other.receive(member_id(0), data, 1.0, WALL).sends
    assert one.receive(YOU, carried, 1.1, WALL).applied == [entry()]
    assert one.receive(YOU, encode(Have((made[:20],))), 9.0, WALL).sends == []


def test_made_up_ids_are_asked_for_in_bounded_number() -> None:
    """And keep nobody from asking for what is real, a moment later."""
    one = node()
    for number in range(2 * limits.wants_max // limits.gossip_ids_max):
        ids = tuple((number * 100 + n).to_bytes(20) for n in range(limits.gossip_ids_max))
        one.receive(YOU, encode(Have(ids)), 1.0, WALL)
    assert len(one._wanted) <= limits.wants_max
    real = encode(Have((capsule(index=1).id,)))
    assert one.receive(YOU, real, 1.1, WALL).sends


def test_expired_entries_are_not_applied() -> None:
    """A capsule lives as long as its last entry; the others are dead before."""
    brief, long = entry(1, life=10), entry(2, life=1000)
    made = unsigned(line(1), 1, WALL, [brief, long])
    made = seal(made, sign(1, made.signed(CLUSTER)))
    effects = node().receive(YOU, encode(Carry(made.raw)), 0.0, WALL + 20)
    assert effects.applied == [long]
    late = node().receive(YOU, encode(Carry(made.raw)), 0.0, WALL + 2000)
    assert (late.applied, late.sends, late.kept) == ([], [], [])


def test_two_capsules_of_one_number_are_both_applied_with_an_alarm() -> None:
    """An origin that runs twice from a copy: whatever it revoked is revoked."""
    one = node()
    one.receive(YOU, encode(Carry(capsule(index=1, key=5).raw)), 0.0, WALL)
    effects = one.receive(YOU, encode(Carry(capsule(index=1, key=6).raw)), 0.0, WALL)
    assert len(effects.applied) == 1
    assert effects.sends
    assert effects.alarms == [f"conflict: a capsule of {capsule(index=1).id.hex()}"]


def test_another_digest_leads_to_a_comparison_once_it_is_quiet() -> None:
    """Not while something new is on its way, and not with everybody at once."""
    one = node()
    one.receive(YOU, encode(Carry(capsule(index=1).raw)), 10.0, WALL)
    other = encode(Ack(1, b"another "))
    assert one.receive(YOU, other, 10.5, WALL).compare == []
    quiet = 10.0 + limits.sync_quiet_seconds
    assert one.receive(YOU, other, quiet, WALL).compare == [YOU]
    assert one.receive(member_id(2), other, quiet, WALL).compare == []
    same = encode(Ping(2, one.archive.digest))
    assert one.receive(YOU, same, quiet + 60, WALL).compare == []


def test_all_is_compared_with_somebody_now_and_then() -> None:
    """Mismatch or not: every ten seconds, with a member who is there."""
    one, compared = node(), 0
    for tick in range(1000):
        effects = one.due(tick / 10, WALL)
        compared += len(effects.compare)
        for peer, data in effects.sends:
            probe = decode(data)
            if isinstance(probe, Ping):
                one.receive(peer, encode(Ack(probe.probe, probe.digest)), tick / 10, WALL)
    assert 9 <= compared <= 12


def test_what_was_handed_over_is_kept_and_not_told_on() -> None:
    """A member that has been away may be handed a million: others have them already."""
    one, other = node(), node(1)
    other.revoke([entry(number) for number in range(500)], 0.0, WALL)
    raws = list(other.lacking(one.archive.differing(other.archive.digests())))
    effects = one.take(raws, 0.0, WALL)
    assert (len(effects.applied), effects.kept, effects.sends) == (500, raws, [])
    assert one.archive.differing(other.archive.digests()) == {}
    with pytest.raises(GossipError):
        other.lacking({line(1, 9): ((5, 1),)})
