"""One member: what it makes of each message, and that nothing bad changes anything."""

import random
from contextlib import suppress

import pytest
from gossip_capsules import capsule, entry, line
from gossip_world import CLUSTER, WALL, address_of, know, member_id, sign

from crewgate import limits
from crewgate.core.gossip.capsules import Capsule, seal, unsigned
from crewgate.core.gossip.messages import (
    AcceptLogRequest,
    AcceptLogResponse,
    Ack,
    IHave,
    IWant,
    MemberState,
    MemberUpdate,
    PersistAck,
    PersistQuery,
    Ping,
    Push,
    decode,
    encode,
)
from crewgate.core.gossip.protocol import ProtocolNode
from crewgate.core.gossip.protocol_interface import CapsuleCrypto, ProtocolOutput
from crewgate.core.gossip.quorum_freshness import QuorumFreshness
from crewgate.errors import GossipError

YOU = member_id(1)
PAIR = [member_id(0), member_id(1)]


def verify(made: Capsule, is_named: bool) -> bool:
    """Members 0 to 2 may revoke."""
    return any(
        made.origin == member_id(index)
        and (is_named or made.signature == sign(index, made.signed(CLUSTER)))
        for index in range(3)
    )


def node(index: int = 0) -> ProtocolNode:
    """One of five, who knows the others."""
    one = ProtocolNode(
        line(index, 9),
        CLUSTER,
        address_of(index),
        random_source=random.Random(index),
        crypto=CapsuleCrypto(verify, lambda message: sign(index, message), lambda: b"no guess"),
        freshness=QuorumFreshness(member_id(index), counts=True),
    )
    others = [MemberUpdate(member_id(n), MemberState.ALIVE, 0, address_of(n)) for n in range(5)]
    know(one.members, others, 0.0)
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
        one.receive(YOU, encode(Push(bad.raw)), 0.0, WALL)
    with suppress(GossipError):  # where nobody can tell
        assert one.take([bad.raw], 0.0, WALL) == ProtocolOutput()
    assert len(one.archive) == 0
    assert one.receive(YOU, encode(IHave((bad.id,))), 0.0, WALL).sends


def test_what_no_origin_signed_is_left_out_of_what_is_handed_over() -> None:
    """An origin that lies can have it taken for good elsewhere; all else that comes is taken."""
    one, good = node(), capsule(index=1)
    bad = seal(capsule(index=2), b"x" * 64)
    assert one.take([bad.raw, good.raw], 0.0, WALL).applied == list(good.entries)
    assert one.archive.get(bad.id) is None


def test_every_bit_of_a_capsule_is_signed() -> None:
    """Wherever one is turned, nothing is applied."""
    one, raw = node(), capsule(index=1).raw
    for at in range(len(raw) * 8):
        turned = bytearray(raw)
        turned[at // 8] ^= 1 << at % 8
        with pytest.raises(GossipError):
            one.receive(YOU, encode(Push(bytes(turned))), 0.0, WALL)
    assert len(one.archive) == 0


def test_what_is_lacking_is_asked_for_once_and_handed_over() -> None:
    """By id; not again of the next who has it, until the first has had its time."""
    one, other = node(), node(1)
    made = other.revoke([entry()], 0.0, WALL).kept[0]
    have = encode(IHave((made[:20], bytes(20))))
    [(to, data)] = one.receive(YOU, have, 1.0, WALL).sends
    assert (to, decode(data)) == (YOU, IWant((made[:20], bytes(20))))
    assert one.receive(member_id(2), have, 1.0, WALL).sends == []
    again = one.receive(member_id(2), have, 1.0 + limits.want_again_seconds, WALL).sends
    assert len(again) == 1
    [(_, carried)] = other.receive(member_id(0), data, 1.0, WALL).sends
    assert one.receive(YOU, carried, 1.1, WALL).applied == [entry()]
    assert one.receive(YOU, encode(IHave((made[:20],))), 9.0, WALL).sends == []


def test_made_up_ids_are_asked_for_in_bounded_number() -> None:
    """And keep nobody from asking for what is real, a moment later."""
    one = node()
    for number in range(2 * limits.wants_max // limits.gossip_ids_max):
        ids = tuple((number * 100 + n).to_bytes(20) for n in range(limits.gossip_ids_max))
        one.receive(YOU, encode(IHave(ids)), 1.0, WALL)
    assert len(one._wanted) <= limits.wants_max
    real = encode(IHave((capsule(index=1).id,)))
    assert one.receive(YOU, real, 1.1, WALL).sends


def test_expired_entries_are_not_applied() -> None:
    """A capsule lives as long as its last entry; the others are dead before."""
    brief, long = entry(1, life=10), entry(2, life=1000)
    made = unsigned(line(1), 1, WALL, [brief, long])
    made = seal(made, sign(1, made.signed(CLUSTER)))
    effects = node().receive(YOU, encode(Push(made.raw)), 0.0, WALL + 20)
    assert effects.applied == [long]
    late = node().receive(YOU, encode(Push(made.raw)), 0.0, WALL + 2000)
    assert (late.applied, late.sends, late.kept) == ([], [], [])


def test_two_capsules_of_one_number_are_both_applied_with_an_alarm() -> None:
    """An origin that runs twice from a copy: whatever it revoked is revoked."""
    one = node()
    one.receive(YOU, encode(Push(capsule(index=1, key=5).raw)), 0.0, WALL)
    effects = one.receive(YOU, encode(Push(capsule(index=1, key=6).raw)), 0.0, WALL)
    assert len(effects.applied) == 1
    assert effects.sends
    [alarm] = effects.alarms
    assert alarm == (
        f"capsule {capsule(index=1).id.hex()}: another capsule has this id; its origin is "
        "dishonest, or a copy of its folder runs on another machine: end the copy"
    )


def test_another_digest_leads_to_a_comparison_once_it_is_quiet() -> None:
    """Not while something new is on its way, and not with everybody at once."""
    one = node()
    one.receive(YOU, encode(Push(capsule(index=1).raw)), 10.0, WALL)
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


@pytest.mark.parametrize("bad", [capsule(index=3).raw, b"none"], ids=["stranger's", "no capsule"])
def test_what_is_handed_over_with_what_nobody_can_judge_is_not_taken_for_known(bad: bytes) -> None:
    """All of it or nothing: what was remembered and not applied would never come again."""
    one, good = node(), capsule(index=1)
    with pytest.raises(GossipError):
        one.take([good.raw, bad], 0.0, WALL)
    effects = one.receive(YOU, encode(Push(good.raw)), 0.0, WALL)
    assert (effects.applied, effects.kept) == (list(good.entries), [good.raw])


def ask(one: ProtocolNode, other: ProtocolNode, now: float) -> ProtocolOutput:
    """One asks the other, and hears what it says."""
    sends = one.due(now, WALL).sends
    [question] = [
        data for to, data in sends if to == other.me and isinstance(decode(data), AcceptLogRequest)
    ]
    [(_, answer)] = other.receive(one.me, question, now, WALL).sends
    assert isinstance(decode(answer), AcceptLogResponse)
    return one.receive(other.me, answer, now, WALL)


def two() -> tuple[ProtocolNode, ProtocolNode]:
    """Of a pair."""
    nodes = node(), node(1)
    for each in nodes:
        each.merge_views(PAIR, PAIR, 0.0)
    return nodes


def test_one_asks_another_fetches_what_it_lacks_and_has_compared() -> None:
    """As of when it asked, and once all of it is here."""
    one, other = two()
    made = other.revoke([entry(number) for number in range(30)], 0.0, WALL).kept
    effects = ask(one, other, 1.0)
    [(to, data)] = effects.sends
    assert (to, decode(data)) == (YOU, IWant((made[0][:20], made[1][:20])))
    one.receive(YOU, encode(Push(made[0])), 1.0, WALL)
    assert ask(one, other, 1.1).sends
    assert one.freshness.until(5.0) < 0
    one.receive(YOU, encode(Push(made[1])), 1.2, WALL)
    assert ask(one, other, 1.3).sends == []
    assert one.freshness.until(5.0) == 6.3


def test_what_expired_where_it_is_asked_for_keeps_nobody_from_comparing() -> None:
    """One that joins is told of ids that nobody can hand over any more."""
    one, other = two()
    other.revoke([entry(1, life=100)], 0.0, WALL)
    other.revoke([entry(2)], 0.0, WALL)
    other.archive.expire(WALL + 500)
    one.receive(YOU, encode(Push(other.revoke([entry(3)], 0.0, WALL).kept[0])), 0.0, WALL)
    [(_, data)] = ask(one, other, 1.0).sends
    wanted = decode(data)
    assert isinstance(wanted, IWant)
    [(_, carried)] = other.receive(one.me, data, 1.0, WALL).sends
    one.receive(YOU, carried, 1.0, WALL)
    ask(one, other, 1.1)
    assert one.freshness.until(5.0) == 6.1


def test_two_capsules_of_one_number_are_compared_over_a_stream() -> None:
    """Their id is known where one of them is: who asks by ids would miss the other."""
    one, other = two()
    third, clone = capsule(index=2, key=5), capsule(index=2, key=6)
    other.receive(one.me, encode(Push(third.raw)), 0.0, WALL)
    one.receive(YOU, encode(Push(third.raw)), 0.0, WALL)
    ask(one, other, 1.0)
    assert one.freshness.until(5.0) == 6.0
    other.receive(member_id(2), encode(Push(clone.raw)), 1.5, WALL)
    assert ask(one, other, 2.0).compare == [YOU]
    assert one.freshness.until(5.0) == 6.0
    word = other.anti_entropy.summary(WALL)
    applied = one.take(other.lacking(one.archive.held([clone.line])), 2.5, WALL).applied
    assert applied == list(clone.entries)
    one.anti_entropy.synced(YOU, word, 2.5)
    assert one.freshness.until(5.0) == 7.5


def test_other_members_are_a_reason_to_sync() -> None:
    """For of them one hears over a stream alone."""
    one, other = two()
    assert ask(one, other, 1.0).compare == []
    other.merge_views([member_id(2)], [], 1.0)
    assert ask(one, other, 2.0).compare == [YOU]
    assert one.freshness.until(5.0) == 6.0
    unasked = other.anti_entropy.answer(AcceptLogRequest(bytes(8), other.life, 0), WALL)
    assert one.receive(YOU, encode(unasked), 2.0, WALL).compare == []


def test_what_is_on_the_disk_is_acknowledged_and_nothing_before() -> None:
    """A check is answered when it is, and asks for what is not even here."""
    one, other = two()
    raw = other.revoke([entry()], 0.0, WALL).kept[0]
    receipt = other.receipts.begin([raw[:20]], 0.0)
    [check] = [
        data for _, data in other.due(0.0, WALL).sends if isinstance(decode(data), PersistQuery)
    ]
    [(_, want)] = one.receive(YOU, check, 0.01, WALL).sends
    assert decode(want) == IWant((raw[:20],))
    carried = one.receive(YOU, encode(Push(raw)), 0.02, WALL)
    assert carried.kept == [raw]
    assert one.receive(YOU, check, 0.03, WALL).sends == []
    [(to, data)] = one.kept([raw], 0.04).sends
    assert isinstance(decode(data), PersistAck)
    assert other.receive(one.me, data, 0.05, WALL).receipts == [receipt]
    assert (receipt.missing, receipt.has_quorum) == ([], False)
    assert other.kept([raw], 0.06).receipts == [receipt]
    assert (to, receipt.has_quorum) == (YOU, True)


def test_what_there_was_no_room_for_is_in_force_and_never_acknowledged() -> None:
    """It is gone with a restart, and others are not told of it."""
    one = node()
    for epoch in range(1, limits.capsule_epochs_max + 1):
        one.receive(YOU, encode(Push(capsule(index=1, epoch=epoch).raw)), 0.0, WALL)
    head = one.anti_entropy.accepted.head
    last = capsule(index=1, epoch=limits.capsule_epochs_max + 1)
    effects = one.receive(YOU, encode(Push(last.raw)), 0.0, WALL)
    assert (effects.applied, effects.kept, len(effects.alarms)) == (list(last.entries), [], 1)
    assert one.receive(YOU, encode(PersistQuery(1, (last.id,))), 0.0, WALL).sends == []
    assert one.anti_entropy.accepted.head == head
