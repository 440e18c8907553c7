"""Who is there: SWIM with suspicion, indirect probes, incarnations and local health.

Decides whom to probe, what to think of a member, and what to tell of it; whom to spread to follows
from that. What is told is hearsay, and only ever costs datagrams: freshness counts members by their
certificates and believes none of this. Times are seconds of a clock that is never set.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from crewgate import limits
from crewgate.core.gossip.messages import (
    Ack,
    MemberAddress,
    MemberState,
    MemberUpdate,
    OutgoingDatagram,
    Ping,
    PingRequest,
    encode,
)
from crewgate.core.gossip.randomness import RandomSource, some

_THERE = {MemberState.ALIVE, MemberState.SUSPECT}


@dataclass(slots=True)
class Member:
    """One of the others."""

    id: bytes
    address: MemberAddress
    state: MemberState = MemberState.ALIVE
    incarnation: int = 0
    since: float = 0.0  # in this state

    def update(self) -> MemberUpdate:
        """As it is told."""
        return MemberUpdate(self.id, self.state, self.incarnation, self.address)


@dataclass(slots=True)
class _Probe:
    target: bytes
    ask_at: float
    over_at: float
    tries: int
    is_asked: bool = False


class Membership:
    """All that `me` knows of the others; `digest` of its capsules goes along with probes."""

    def __init__(self, me: bytes, address: MemberAddress, chance: RandomSource) -> None:
        self._me = me
        self._address = address
        self._chance = chance
        self._incarnation = 0
        self._health = 0
        self._members: dict[bytes, Member] = {}
        self._not_alive: set[bytes] = set()
        self._there: list[bytes] | None = None
        self._turn: list[bytes] = []
        self._probes: dict[int, _Probe] = {}
        self._relays: dict[int, tuple[bytes, int, float]] = {}  # for whom, its number, until when
        self._news: dict[bytes, tuple[MemberUpdate, int]] = {}  # and how often it is still told
        self._last_probe = 0
        self._next_probe = 0.0
        self._next_dead = 0.0

    def __repr__(self) -> str:
        reachable = f"{len(self.reachable)} of {len(self._members)}"
        return f"<Membership reachable={reachable} health={self._health}>"

    @property
    def reachable(self) -> Sequence[bytes]:
        """Those who are alive or only suspected, to be spread to."""
        if self._there is None:
            self._there = [each.id for each in self._members.values() if each.state in _THERE]
        return self._there

    @property
    def next_at(self) -> float:
        """When `due` has something to do."""
        probes = (each.over_at if each.is_asked else each.ask_at for each in self._probes.values())
        relays = (until for _, _, until in self._relays.values())
        return min((self._next_probe, *probes, *relays))

    def get(self, member: bytes) -> Member | None:
        """What is known of one."""
        return self._members.get(member)

    def all(self) -> list[MemberUpdate]:
        """What is thought of everybody, oneself included: for somebody who joins."""
        return [self._self(), *(each.update() for each in self._members.values())]

    def restore(self, updates: Iterable[MemberUpdate], now: float) -> None:
        """Who was there before a restart, which is no news to anybody."""
        for update in updates:
            if update.member != self._me and len(self._members) < limits.gossip_members_max:
                self._set(update, now)

    def join(self, member: bytes, address: MemberAddress, now: float) -> None:
        """One who has shown its certificate: it is there, whatever was heard of it."""
        known = self._members.get(member)
        if known is None or known.state not in _THERE or known.address != address:
            incarnation = known.incarnation + 1 if known else 0
            self._put(MemberUpdate(member, MemberState.ALIVE, incarnation, address), now)

    def introduce(self, member: bytes, address: MemberAddress, now: float) -> None:
        """One whose certificate was seen, some time: if it is there at all, it is there."""
        known = self._members.get(member)
        if known is None:
            self._put(MemberUpdate(member, MemberState.ALIVE, 0, address), now)
        else:
            known.address = address

    def forget(self, member: bytes) -> None:
        """One who is no member any more."""
        self._members.pop(member, None)
        self._not_alive.discard(member)
        self._there = None

    def leave(self) -> list[OutgoingDatagram]:
        """Tell a few, at the end, that this is no failure."""
        update = MemberUpdate(self._me, MemberState.LEFT, self._incarnation, self._address)
        ping = encode(Ping(0, bytes(8), (update,)))
        return [
            (peer, ping) for peer in some(self._chance, self.reachable, limits.gossip_updates_max)
        ]

    def merge(self, updates: Iterable[MemberUpdate], now: float) -> None:
        """What others think of members; the newer word counts. Nobody is invented or moved so."""
        for update in updates:
            if update.incarnation > limits.incarnation_max:
                continue
            if update.member == self._me:
                self._refute(update)
                continue
            known = self._members.get(update.member)
            newer = (update.incarnation, update.state)
            if known is not None and newer > (known.incarnation, known.state):
                self._put(msgspec.structs.replace(update, address=known.address), now)

    def pinged(
        self, sender: bytes, ping: Ping, digest: bytes, now: float
    ) -> list[OutgoingDatagram]:
        """Answer; one who is thought dead is told so, that it may object."""
        self.merge(ping.updates, now)
        known = self._members.get(sender)
        about = (
            [known.update()] if known is not None and known.state is not MemberState.ALIVE else []
        )
        return [(sender, encode(Ack(ping.probe, digest, self._piggyback(about))))]

    def asked(
        self, sender: bytes, ask: PingRequest, digest: bytes, now: float
    ) -> list[OutgoingDatagram]:
        """Probe somebody for somebody else."""
        self.merge(ask.updates, now)
        if ask.target not in self._members or len(self._relays) >= limits.relays_max:
            return []
        number = self._number()
        self._relays[number] = (sender, ask.probe, now + limits.probe_seconds)
        return [(ask.target, encode(Ping(number, digest, self._piggyback())))]

    def acked(self, ack: Ack, now: float) -> list[OutgoingDatagram]:
        """An answer to a probe, ours or one for somebody else."""
        self.merge(ack.updates, now)
        relay = self._relays.pop(ack.probe, None)
        if relay is not None:
            asker, number, _ = relay
            return [(asker, encode(Ack(number, ack.digest)))]
        probe = self._probes.pop(ack.probe, None)
        if probe is not None:
            self._health = max(0, self._health - 1)
            self._saw(probe.target, now)
        return []

    def due(self, digest: bytes, now: float) -> list[OutgoingDatagram]:
        """Probe whose turn it is; ask others; suspect, and give up, who does not answer."""
        sends: list[OutgoingDatagram] = []
        for number, probe in list(self._probes.items()):
            if now >= probe.over_at:
                del self._probes[number]
                self._missed(probe.target, now)
                sends += self._probe(probe.target, digest, now, tries=probe.tries + 1)
            elif now >= probe.ask_at and not probe.is_asked:
                probe.is_asked = True
                sends += self._ask_others(number, probe)
        for number, (_, _, until) in list(self._relays.items()):
            if now >= until:
                del self._relays[number]
        if now >= self._next_probe:
            self._next_probe = now + limits.probe_seconds
            self._give_up(now)
            sends += self._probe_next(digest, now)
        return sends

    def _self(self) -> MemberUpdate:
        return MemberUpdate(self._me, MemberState.ALIVE, self._incarnation, self._address)

    def _scale(self) -> float:
        return max(1.0, math.log10(len(self._members) + 1))

    def _sendings(self) -> int:
        return limits.update_sendings * math.ceil(math.log10(len(self._members) + 2))

    def _number(self) -> int:
        self._last_probe += 1
        return self._last_probe

    def _put(self, update: MemberUpdate, now: float) -> None:
        """Think so from now on, and tell it."""
        self._set(update, now)
        self._news[update.member] = (update, self._sendings())

    def _set(self, update: MemberUpdate, now: float) -> None:
        known = self._members.get(update.member)
        member = Member(update.member, update.address, update.state, update.incarnation, now)
        self._members[update.member] = member
        if known is None or (known.state in _THERE) != (member.state in _THERE):
            self._there = None
        if member.state is MemberState.ALIVE:
            self._not_alive.discard(member.id)
        else:
            self._not_alive.add(member.id)

    def _refute(self, update: MemberUpdate) -> None:
        """What is not true of oneself is outdone."""
        if update.state is MemberState.ALIVE and update.incarnation <= self._incarnation:
            return
        if update.incarnation >= self._incarnation:
            self._health = min(limits.health_max, self._health + 1)
            self._incarnation = min(limits.incarnation_max, update.incarnation + 1)
            self._news[self._me] = (self._self(), self._sendings())

    def _saw(self, target: bytes, now: float) -> None:
        """It has answered us: to us it is there, whatever is said of it."""
        member = self._members.get(target)
        if member is not None and member.state is not MemberState.ALIVE:
            self._set(
                MemberUpdate(target, MemberState.ALIVE, member.incarnation, member.address), now
            )

    def _missed(self, target: bytes, now: float) -> None:
        self._health = min(limits.health_max, self._health + 1)
        member = self._members.get(target)
        if member is not None and member.state is MemberState.ALIVE:
            self._put(
                MemberUpdate(target, MemberState.SUSPECT, member.incarnation, member.address), now
            )

    def _give_up(self, now: float) -> None:
        patience = limits.suspect_seconds * self._scale() * (self._health + 1)
        for member in map(self._members.__getitem__, sorted(self._not_alive)):
            if member.state is MemberState.SUSPECT and now - member.since >= patience:
                gone = MemberUpdate(member.id, MemberState.DEAD, member.incarnation, member.address)
                self._put(gone, now)
            elif member.state not in _THERE and now - member.since >= limits.dead_seconds_max:
                self.forget(member.id)

    def _probe_next(self, digest: bytes, now: float) -> list[OutgoingDatagram]:
        chosen = self._next_target(now)
        return [] if chosen is None else self._probe(chosen, digest, now, tries=0)

    def _probe(
        self, chosen: bytes, digest: bytes, now: float, *, tries: int
    ) -> list[OutgoingDatagram]:
        """Ping one; whom we suspect is told so, a few times, for it may well be there."""
        if tries > limits.suspect_probes or chosen not in self._members:
            return []
        number = self._number()
        patience = limits.probe_answer_seconds * (self._health + 1)
        over = max(limits.probe_seconds, 2 * patience)
        self._probes[number] = _Probe(chosen, now + patience, now + over, tries)
        about = [self._members[chosen].update()]
        if about[0].state is MemberState.ALIVE:
            about = []
        return [(chosen, encode(Ping(number, digest, self._piggyback(about))))]

    def _next_target(self, now: float) -> bytes | None:
        """All in turn, in an order of ours; now and then one of the dead, for a day."""
        if now >= self._next_dead:
            self._next_dead = now + limits.dead_probe_seconds
            odd = map(self._members.__getitem__, sorted(self._not_alive))
            dead = [each.id for each in odd if each.state is MemberState.DEAD]
            if dead:
                return some(self._chance, dead, 1)[0]
        while self._turn:
            target = self._turn.pop()
            member = self._members.get(target)
            if member is not None and member.state in _THERE:
                return target
        self._turn = some(self._chance, self.reachable, len(self.reachable))
        return self._turn.pop() if self._turn else None

    def _ask_others(self, number: int, probe: _Probe) -> list[OutgoingDatagram]:
        others = [each for each in self.reachable if each != probe.target]
        data = encode(PingRequest(number, probe.target, self._piggyback()))
        return [(peer, data) for peer in some(self._chance, others, limits.probe_helpers)]

    def _piggyback(self, first: Iterable[MemberUpdate] = ()) -> tuple[MemberUpdate, ...]:
        """What goes along with a probe: `first`, and then what was told least often."""
        told = list(first)
        names = {update.member for update in told}
        waiting = sorted(self._news.items(), key=lambda item: -item[1][1])
        for member, (update, left) in waiting:
            if len(told) >= limits.gossip_updates_max:
                break
            if member in names:
                continue
            told.append(update)
            if left > 1:
                self._news[member] = (update, left - 1)
            else:
                del self._news[member]
        return tuple(told)
