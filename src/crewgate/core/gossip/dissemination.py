"""Disseminates new capsules to a few random members at a time, within a bandwidth budget.

1. A member pushes a capsule that is new to it at once to a few random peers.
2. It pushes the capsule again to a few others, several times within a tenth of a second.
3. Meanwhile it sends the ids of new capsules to random peers (`IHave`). A peer that received none
   of the pushes requests the capsule by its id.

If little of the budget is left, repetitions go to fewer peers. If less is left, they consist of
ids. If nearly nothing is left, only step 3 remains. The first push of a new capsule never waits.
The caller passes the peers that are reachable.
"""

import heapq
from collections import deque
from collections.abc import Sequence

from crewgate import limits
from crewgate.core.gossip.capsules import ID_BYTES
from crewgate.core.gossip.messages import IHave, OutgoingDatagram, Push, encode
from crewgate.core.gossip.randomness import RandomSource, some


class EgressBudget:
    """The bytes that may still be sent: a token bucket, which is full at first."""

    __slots__ = ("_burst", "_left", "_per_second", "_seen")

    def __init__(self, per_second: float = limits.egress_bytes_per_second) -> None:
        self._per_second = per_second
        self._burst = per_second * limits.egress_burst_seconds
        self._left = self._burst
        self._seen = 0.0

    def level(self, now: float) -> float:
        """Return the part of the budget that is left: 1 is all, and below 0 too much was sent."""
        self._left = min(self._burst, self._left + (now - self._seen) * self._per_second)
        self._seen = now
        return self._left / self._burst

    def spend(self, size: int) -> None:
        """Take a message of `size` bytes out of the budget, with the overhead of its datagram."""
        self._left -= size + limits.gossip_seal_bytes


class Disseminator:
    """The capsules that one member is sending to others. Times are seconds of a monotonic clock."""

    def __init__(
        self,
        random_source: RandomSource,
        egress: EgressBudget,
        *,
        origin_peers: int = limits.spread_origin_peers,
    ) -> None:
        """`origin_peers`: to how many peers the first push of an own capsule goes."""
        self._random = random_source
        self._egress = egress
        self._origin_peers = origin_peers
        # A heap of (time, order, pushes left, capsule).
        self._repeats: list[tuple[float, int, int, bytes]] = []
        self._order = 0
        # The ids to send in `IHave`, each with the time when it is no longer sent.
        self._hot: deque[tuple[float, bytes]] = deque()
        self._next_hot = 0.0

    @property
    def next_at(self) -> float | None:
        """When `due` next has something to send; None if there is nothing to send."""
        times = [self._repeats[0][0]] if self._repeats else []
        times += [self._next_hot] if self._hot else []
        return min(times, default=None)

    def begin(
        self, raw: bytes, peers: Sequence[bytes], now: float, *, is_own: bool = False
    ) -> list[OutgoingDatagram]:
        """Return the first pushes of a new capsule, and schedule the repetitions."""
        count = limits.spread_eager_peers
        if is_own:
            count = max(count, self._origin_peers)
        if not self._hot:
            self._next_hot = now + limits.hot_interval_seconds
        self._hot.append((now + limits.hot_seconds, raw[:ID_BYTES]))
        self._repeat_later(raw, now, limits.spread_repeats)
        if len(peers) <= limits.spread_few_peers:
            for pause in limits.spread_few_seconds:
                self._push_at(now + pause, 1, raw)
        return self._send(some(self._random, peers, count), encode(Push(raw)))

    def due(self, peers: Sequence[bytes], now: float) -> list[OutgoingDatagram]:
        """Return the repetitions and ids to send by now."""
        sends: list[OutgoingDatagram] = []
        ids: list[bytes] = []
        while self._repeats and self._repeats[0][0] <= now:
            _, _, left, raw = heapq.heappop(self._repeats)
            self._repeat_later(raw, now, left - 1)
            level = self._egress.level(now)
            if level > limits.egress_whole:
                chosen = some(self._random, peers, limits.spread_repeat_peers)
                sends += self._send(chosen, encode(Push(raw)))
            elif level > limits.egress_thin:
                sends += self._send(some(self._random, peers, 1), encode(Push(raw)))
            elif level > limits.egress_ids:
                ids.append(raw[:ID_BYTES])
        for at in range(0, len(ids), limits.gossip_ids_max):
            have = encode(IHave(tuple(ids[at : at + limits.gossip_ids_max])))
            sends += self._send(some(self._random, peers, limits.spread_repeat_peers), have)
        return sends + self._send_ids(peers, now)

    def _repeat_later(self, raw: bytes, now: float, left: int) -> None:
        if left <= 0:
            return
        jitter = limits.spread_jitter
        pause = limits.spread_repeat_seconds * self._random.uniform(1 - jitter, 1 + jitter)
        self._push_at(now + pause, left, raw)

    def _push_at(self, at: float, left: int, raw: bytes) -> None:
        self._order += 1
        heapq.heappush(self._repeats, (at, self._order, left, raw))

    def _send_ids(self, peers: Sequence[bytes], now: float) -> list[OutgoingDatagram]:
        """Return messages with the newest ids, each to a few random peers."""
        while self._hot and self._hot[0][0] <= now:
            self._hot.popleft()
        if not self._hot or now < self._next_hot:
            return []
        self._next_hot = now + limits.hot_interval_seconds
        sends: list[OutgoingDatagram] = []
        for at in range(0, len(self._hot), limits.gossip_ids_max)[: limits.hot_messages_max]:
            end = len(self._hot) - at
            ids = tuple(self._hot[n][1] for n in range(max(0, end - limits.gossip_ids_max), end))
            sends += self._send(some(self._random, peers, limits.hot_peers), encode(IHave(ids)))
        return sends

    def _send(self, peers: Sequence[bytes], data: bytes) -> list[OutgoingDatagram]:
        for _ in peers:
            self._egress.spend(len(data))
        return [(peer, data) for peer in peers]
