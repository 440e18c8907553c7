"""Who is sent a new capsule, and what remains of that when there is more to send than may be."""

import random
from collections import Counter

import pytest
from gossip_capsules import capsule
from gossip_world import member_id

from crewgate import limits
from crewgate.core.gossip.dissemination import Disseminator, EgressBudget
from crewgate.core.gossip.messages import IHave, Message, OutgoingDatagram, Push, decode

PEERS = [member_id(index) for index in range(200)]


def spread(egress: EgressBudget | None = None) -> Disseminator:
    """With dice of a seed."""
    return Disseminator(random.Random(1), egress or EgressBudget())


def until_over(
    one: Disseminator, now: float, seconds: float = 5.0
) -> list[tuple[float, OutgoingDatagram]]:
    """All that it sends of its own, and when."""
    sends, end = [], now + seconds
    while (at := one.next_at) is not None and at <= end:
        now = max(now, at)
        sends += [(now, send) for send in one.due(PEERS, now)]
    return sends


def kinds(sends: list[OutgoingDatagram]) -> Counter[type[Message]]:
    """How many of each."""
    return Counter(type(decode(data)) for _, data in sends)


def test_a_new_capsule_is_sent_at_once_repeated_and_told() -> None:
    """To five, then six times to four within two tenths of a second; ids for one second."""
    one, made = spread(), capsule()
    first = one.begin(made.raw, PEERS, 10.0)
    assert len({peer for peer, _ in first}) == limits.spread_eager_peers
    later = until_over(one, 10.0)
    carried = [at for at, (_, data) in later if decode(data) == Push(made.raw)]
    assert len(carried) == limits.spread_repeats * limits.spread_repeat_peers
    pause = limits.spread_repeat_seconds
    assert 10 + pause * 0.75 <= min(carried) <= max(carried) <= 10 + 6 * pause * 1.25
    told = [at for at, (_, data) in later if decode(data) == IHave((made.id,))]
    assert len(told) == pytest.approx(
        limits.hot_peers * limits.hot_seconds / limits.hot_interval_seconds, abs=2
    )
    assert max(told) < 10 + limits.hot_seconds
    assert one.next_at is None


def test_an_origin_tells_many_itself() -> None:
    """Once each, and then goes on like anybody."""
    first = spread().begin(capsule().raw, PEERS, 0.0, is_own=True)
    assert len({peer for peer, _ in first}) == limits.spread_origin_peers


@pytest.mark.parametrize("count", [0, 1, 3])
def test_with_few_peers_each_is_told_again_at_once(count: int) -> None:
    """Nobody twice in a turn; and there is no crowd that would make up for a lost datagram."""
    one, peers = spread(), PEERS[:count]
    sends = one.begin(capsule().raw, peers, 0.0)
    assert sorted(peer for peer, _ in sends) == sorted(peers)
    for at in limits.spread_few_seconds:
        assert one.next_at == at
        assert sorted(peer for peer, _ in one.due(peers, at)) == sorted(peers)


@pytest.mark.parametrize(
    ("left", "carried", "ids"), [(0.9, 4, 0), (0.4, 1, 0), (0.1, 0, 4), (0.01, 0, 0)]
)
def test_repeats_thin_out_when_there_is_much_to_send(left: float, carried: int, ids: int) -> None:
    """Capsules to four, to one, ids to four, nothing; what is new is always sent."""
    egress = EgressBudget(1000.0)
    one = spread(egress)
    egress.level(0.0)
    egress._left = egress._burst * left + 5 * (limits.gossip_seal_bytes + 1 + len(capsule().raw))
    assert len(one.begin(capsule().raw, PEERS, 0.0)) == limits.spread_eager_peers
    egress._per_second = 0.0
    at = one.next_at
    assert at is not None
    found = kinds(one.due(PEERS, at))
    assert (found[Push], found[IHave]) == (carried, ids)


def test_what_may_be_sent_comes_back_with_time() -> None:
    """As much as it may be each second, and no more than a quarter of that at once."""
    egress = EgressBudget(1000.0)
    assert egress.level(5.0) == 1
    egress.spend(250 - limits.gossip_seal_bytes)
    assert egress.level(5.0) == pytest.approx(0)
    assert egress.level(5.1) == pytest.approx(0.4)
    assert egress.level(99.0) == 1


def test_many_hot_ids_are_told_newest_first_in_bounded_messages() -> None:
    """Four messages each turn at most; none of them more than fits."""
    one = spread()
    made = [capsule(number) for number in range(1, 400)]
    for each in made:
        one.begin(each.raw, [], 0.0)
    haves = [
        message
        for _, data in one.due(PEERS, limits.hot_interval_seconds)
        if isinstance(message := decode(data), IHave)
    ]
    assert len(haves) == limits.hot_peers * limits.hot_messages_max
    assert made[-1].id in haves[0].ids
    assert max(len(message.ids) for message in haves) == limits.gossip_ids_max
