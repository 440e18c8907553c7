"""Spread: who is sent a new capsule, when, and how often, within what may be sent at all.

At once to a few, and to a few others again and again for a tenth of a second; meanwhile ids alone
are told, so that whom all of that missed can ask. When there is more to send than may be sent,
repeats thin out first, then they are ids, then there is only the telling of ids: the first
sending of a new capsule never waits. Knows no member's state: peers are given.
"""

import heapq
from collections import deque
from collections.abc import Sequence

from crewgate import limits
from crewgate.core.gossip.capsules import ID_BYTES
from crewgate.core.gossip.messages import IHave, OutgoingDatagram, Push, encode
from crewgate.core.gossip.randomness import RandomSource, some


class EgressBudget:
    """How much of what may be sent is left: full at first, refilled by the second."""

    __slots__ = ("_burst", "_left", "_per_second", "_seen")

    def __init__(self, per_second: float = limits.egress_bytes_per_second) -> None:
        self._per_second = per_second
        self._burst = per_second * limits.egress_burst_seconds
        self._left = self._burst
        self._seen = 0.0

    def level(self, now: float) -> float:
        """1 is all of it; less than 0 when more was sent than should have been."""
        self._left = min(self._burst, self._left + (now - self._seen) * self._per_second)
        self._seen = now
        return self._left / self._burst

    def spend(self, size: int) -> None:
        """Another datagram, with all that is round it."""
        self._left -= size + limits.gossip_seal_bytes


class Disseminator:
    """What one member is telling others. Times are seconds of a clock that is never set."""

    def __init__(
        self,
        chance: RandomSource,
        egress: EgressBudget,
        *,
        origin_peers: int = limits.spread_origin_peers,
    ) -> None:
        """Of its own capsules `origin_peers` others are told directly, once."""
        self._chance = chance
        self._egress = egress
        self._origin_peers = origin_peers
        self._repeats: list[tuple[float, int, int, bytes]] = []  # a heap: when, order, left, bytes
        self._order = 0
        self._hot: deque[tuple[float, bytes]] = deque()  # until when, and the id
        self._next_hot = 0.0

    def __repr__(self) -> str:
        return f"<Disseminator repeating={len(self._repeats)} hot={len(self._hot)}>"

    @property
    def next_at(self) -> float | None:
        """When `due` has something to send; None if nothing is to be told."""
        times = [self._repeats[0][0]] if self._repeats else []
        times += [self._next_hot] if self._hot else []
        return min(times, default=None)

    def begin(
        self, raw: bytes, peers: Sequence[bytes], now: float, *, is_own: bool = False
    ) -> list[OutgoingDatagram]:
        """Send a capsule that is new here, and go on to."""
        count = limits.spread_eager_peers
        if is_own:
            count = max(count, self._origin_peers)
        if not self._hot:
            self._next_hot = now + limits.hot_interval_seconds
        self._hot.append((now + limits.hot_seconds, raw[:ID_BYTES]))
        self._repeat_later(raw, now, limits.spread_repeats)
        if len(peers) <= limits.spread_few_peers:
            for pause in limits.spread_few_seconds:
                self._push(now + pause, 1, raw)
        return self._to(some(self._chance, peers, count), encode(Push(raw)))

    def due(self, peers: Sequence[bytes], now: float) -> list[OutgoingDatagram]:
        """What is to be sent by now."""
        sends: list[OutgoingDatagram] = []
        ids: list[bytes] = []
        while self._repeats and self._repeats[0][0] <= now:
            _, _, left, raw = heapq.heappop(self._repeats)
            self._repeat_later(raw, now, left - 1)
            level = self._egress.level(now)
            if level > limits.egress_whole:
                chosen = some(self._chance, peers, limits.spread_repeat_peers)
                sends += self._to(chosen, encode(Push(raw)))
            elif level > limits.egress_thin:
                sends += self._to(some(self._chance, peers, 1), encode(Push(raw)))
            elif level > limits.egress_ids:
                ids.append(raw[:ID_BYTES])
        for at in range(0, len(ids), limits.gossip_ids_max):
            have = encode(IHave(tuple(ids[at : at + limits.gossip_ids_max])))
            sends += self._to(some(self._chance, peers, limits.spread_repeat_peers), have)
        return sends + self._push_hot(peers, now)

    def _repeat_later(self, raw: bytes, now: float, left: int) -> None:
        if left <= 0:
            return
        jitter = limits.spread_jitter
        pause = limits.spread_repeat_seconds * self._chance.uniform(1 - jitter, 1 + jitter)
        self._push(now + pause, left, raw)

    def _push(self, at: float, left: int, raw: bytes) -> None:
        self._order += 1
        heapq.heappush(self._repeats, (at, self._order, left, raw))

    def _push_hot(self, peers: Sequence[bytes], now: float) -> list[OutgoingDatagram]:
        """The newest ids, to a few; all that are hot, in turn, where there are many."""
        while self._hot and self._hot[0][0] <= now:
            self._hot.popleft()
        if not self._hot or now < self._next_hot:
            return []
        self._next_hot = now + limits.hot_interval_seconds
        sends: list[OutgoingDatagram] = []
        for at in range(0, len(self._hot), limits.gossip_ids_max)[: limits.hot_messages_max]:
            end = len(self._hot) - at
            ids = tuple(self._hot[n][1] for n in range(max(0, end - limits.gossip_ids_max), end))
            sends += self._to(some(self._chance, peers, limits.hot_peers), encode(IHave(ids)))
        return sends

    def _to(self, peers: Sequence[bytes], data: bytes) -> list[OutgoingDatagram]:
        for _ in peers:
            self._egress.spend(len(data))
        return [(peer, data) for peer in peers]
