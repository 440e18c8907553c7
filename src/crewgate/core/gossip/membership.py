"""Finds out which members are reachable: SWIM with suspicion, indirect probes and local health.

It decides which member to probe, which state a member is in, and which updates to pass on. The
states decide only which members get datagrams. So a false update costs datagrams and no more:
freshness counts members by their certificates. Times are seconds of a monotonic clock.
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

_REACHABLE = {MemberState.ALIVE, MemberState.SUSPECT}


@dataclass(slots=True)
class Member:
    """Another member: its address, and the state that it is in since the time `since`."""

    id: bytes
    address: MemberAddress
    state: MemberState = MemberState.ALIVE
    incarnation: int = 0
    since: float = 0.0

    def update(self, state: MemberState | None = None) -> MemberUpdate:
        """Return the present state, or another one, as an update for other members."""
        return MemberUpdate(
            self.id, self.state if state is None else state, self.incarnation, self.address
        )


@dataclass(slots=True)
class _Probe:
    """A ping to `target`. Others are asked to ping it from `indirect_at` on."""

    target: bytes
    indirect_at: float
    ends_at: float
    tries: int
    is_indirect: bool = False


class Membership:
    """What the member `me` knows of the other members.

    Probes carry a `digest` of this member's capsules.
    """

    def __init__(self, me: bytes, address: MemberAddress, random_source: RandomSource) -> None:
        self._me = me
        self._address = address
        self._random = random_source
        self._incarnation = 0
        # Lifeguard's local health multiplier: 0 is healthy.
        self._health = 0
        self._members: dict[bytes, Member] = {}
        self._not_alive: set[bytes] = set()
        self._reachable: list[bytes] | None = None  # None: to be computed
        self._probe_order: list[bytes] = []
        self._probes: dict[int, _Probe] = {}
        # Probes for other members: who asked, with which number, and when it ends.
        self._relays: dict[int, tuple[bytes, int, float]] = {}
        # By member, the update to pass on, and how many times more.
        self._updates: dict[bytes, tuple[MemberUpdate, int]] = {}
        self._last_probe = 0
        self._next_probe = 0.0
        self._next_dead = 0.0

    @property
    def reachable(self) -> Sequence[bytes]:
        """The members that are alive or suspect."""
        if self._reachable is None:
            found = [each.id for each in self._members.values() if each.state in _REACHABLE]
            self._reachable = found
        return self._reachable

    @property
    def next_at(self) -> float:
        """When `due` next has something to do."""
        probes = (
            each.ends_at if each.is_indirect else each.indirect_at for each in self._probes.values()
        )
        relays = (until for _, _, until in self._relays.values())
        next_probe = self._next_probe if self._members else math.inf
        return min((next_probe, *probes, *relays))

    def get(self, member: bytes) -> Member | None:
        """Return what is known of a member; None if it is unknown."""
        return self._members.get(member)

    def join(self, member: bytes, address: MemberAddress, now: float) -> None:
        """Enter that a member has just shown its certificate: it is alive, whatever updates say."""
        known = self._members.get(member)
        if known is None or known.state not in _REACHABLE or known.address != address:
            incarnation = known.incarnation + 1 if known else 0
            self._spread(MemberUpdate(member, MemberState.ALIVE, incarnation, address), now)

    def introduce(self, member: bytes, address: MemberAddress, now: float) -> None:
        """Enter a member whose certificate has arrived: if it is reachable, then at `address`."""
        known = self._members.get(member)
        if known is None:
            self._spread(MemberUpdate(member, MemberState.ALIVE, 0, address), now)
        else:
            known.address = address

    def forget(self, member: bytes) -> None:
        """Forget a machine that is no longer a member, or was dead for too long."""
        self._members.pop(member, None)
        self._not_alive.discard(member)
        self._reachable = None

    def leave(self) -> list[OutgoingDatagram]:
        """Return messages to a few members: this member ends, and has not failed."""
        update = MemberUpdate(self._me, MemberState.LEFT, self._incarnation, self._address)
        ping = encode(Ping(0, bytes(8), (update,)))
        return [
            (peer, ping) for peer in some(self._random, self.reachable, limits.gossip_updates_max)
        ]

    def merge(self, updates: Iterable[MemberUpdate], now: float) -> None:
        """Take over newer updates from others. These never create a member or change an address."""
        for update in updates:
            if update.incarnation > limits.incarnation_max:
                continue
            if update.member == self._me:
                self._refute(update)
                continue
            known = self._members.get(update.member)
            newer = (update.incarnation, update.state)
            if known is not None and newer > (known.incarnation, known.state):
                self._spread(msgspec.structs.replace(update, address=known.address), now)

    def pinged(
        self, sender: bytes, ping: Ping, digest: bytes, now: float
    ) -> list[OutgoingDatagram]:
        """Return the answer to a ping, which tells the sender if it counts as suspect or dead."""
        self.merge(ping.updates, now)
        return [(sender, encode(Ack(ping.probe, digest, self._piggyback(sender))))]

    def asked(
        self, sender: bytes, ask: PingRequest, digest: bytes, now: float
    ) -> list[OutgoingDatagram]:
        """Probe a member on behalf of another."""
        self.merge(ask.updates, now)
        if ask.target not in self._members or len(self._relays) >= limits.relays_max:
            return []
        number = self._number()
        self._relays[number] = (sender, ask.probe, now + limits.probe_seconds)
        return [(ask.target, encode(Ping(number, digest, self._piggyback())))]

    def acked(self, ack: Ack, now: float) -> list[OutgoingDatagram]:
        """Handle the answer to a probe: our own, or one on behalf of another member."""
        self.merge(ack.updates, now)
        relay = self._relays.pop(ack.probe, None)
        if relay is not None:
            asker, number, _ = relay
            return [(asker, encode(Ack(number, ack.digest)))]
        probe = self._probes.pop(ack.probe, None)
        if probe is not None:
            self._health = max(0, self._health - 1)
            self._on_answer(probe.target, now)
        return []

    def due(self, digest: bytes, now: float) -> list[OutgoingDatagram]:
        """Return the probes to send by now; suspect the members that have not answered."""
        sends: list[OutgoingDatagram] = []
        for number, probe in list(self._probes.items()):
            if now >= probe.ends_at:
                del self._probes[number]
                self._on_timeout(probe.target, now)
                sends += self._probe(probe.target, digest, now, tries=probe.tries + 1)
            elif now >= probe.indirect_at and not probe.is_indirect:
                probe.is_indirect = True
                sends += self._ask_others(number, probe)
        for number, (_, _, until) in list(self._relays.items()):
            if now >= until:
                del self._relays[number]
        if now >= self._next_probe:
            self._next_probe = now + limits.probe_seconds
            self._expire_states(now)
            target = self._next_target(now)
            if target is not None:
                sends += self._probe(target, digest, now, tries=0)
        return sends

    def _transmissions(self) -> int:
        return limits.update_sendings * math.ceil(math.log10(len(self._members) + 2))

    def _number(self) -> int:
        self._last_probe += 1
        return self._last_probe

    def _spread(self, update: MemberUpdate, now: float) -> None:
        self._set(update, now)
        self._updates[update.member] = (update, self._transmissions())

    def _set(self, update: MemberUpdate, now: float) -> None:
        known = self._members.get(update.member)
        member = Member(update.member, update.address, update.state, update.incarnation, now)
        self._members[update.member] = member
        if known is None or (known.state in _REACHABLE) != (member.state in _REACHABLE):
            self._reachable = None
        if member.state is MemberState.ALIVE:
            self._not_alive.discard(member.id)
        else:
            self._not_alive.add(member.id)

    def _refute(self, update: MemberUpdate) -> None:
        """Override a false update about this member by a higher incarnation."""
        if update.state is MemberState.ALIVE and update.incarnation <= self._incarnation:
            return
        if update.incarnation >= self._incarnation:
            self._health = min(limits.health_max, self._health + 1)
            self._incarnation = min(limits.incarnation_max, update.incarnation + 1)
            me = MemberUpdate(self._me, MemberState.ALIVE, self._incarnation, self._address)
            self._updates[self._me] = (me, self._transmissions())

    def _on_answer(self, target: bytes, now: float) -> None:
        """Enter, for this machine only, that a member is alive, whatever updates say."""
        member = self._members.get(target)
        if member is not None and member.state is not MemberState.ALIVE:
            self._set(member.update(MemberState.ALIVE), now)

    def _on_timeout(self, target: bytes, now: float) -> None:
        self._health = min(limits.health_max, self._health + 1)
        member = self._members.get(target)
        if member is not None and member.state is MemberState.ALIVE:
            self._spread(member.update(MemberState.SUSPECT), now)

    def _expire_states(self, now: float) -> None:
        """Declare suspects dead, and forget members that were dead, each after its time."""
        scale = max(1.0, math.log10(len(self._members) + 1))
        timeout = limits.suspect_seconds * scale * (self._health + 1)
        for member in map(self._members.__getitem__, sorted(self._not_alive)):
            if member.state is MemberState.SUSPECT and now - member.since >= timeout:
                self._spread(member.update(MemberState.DEAD), now)
            elif member.state not in _REACHABLE and now - member.since >= limits.dead_seconds_max:
                self.forget(member.id)

    def _probe(
        self, chosen: bytes, digest: bytes, now: float, *, tries: int
    ) -> list[OutgoingDatagram]:
        """Ping a member, up to `limits.suspect_probes` times more while it does not answer.

        The ping tells a member that counts as suspect or dead, so that it can object.
        """
        if tries > limits.suspect_probes or chosen not in self._members:
            return []
        number = self._number()
        timeout = limits.probe_answer_seconds * (self._health + 1)
        end = max(limits.probe_seconds, 2 * timeout)
        self._probes[number] = _Probe(chosen, now + timeout, now + end, tries)
        return [(chosen, encode(Ping(number, digest, self._piggyback(chosen))))]

    def _next_target(self, now: float) -> bytes | None:
        """Return the next member to probe.

        These are all reachable members, in a random order, and now and then a dead one, for a day.
        """
        if now >= self._next_dead:
            self._next_dead = now + limits.dead_probe_seconds
            not_alive = map(self._members.__getitem__, sorted(self._not_alive))
            dead = [each.id for each in not_alive if each.state is MemberState.DEAD]
            if dead:
                return some(self._random, dead, 1)[0]
        while self._probe_order:
            target = self._probe_order.pop()
            member = self._members.get(target)
            if member is not None and member.state in _REACHABLE:
                return target
        self._probe_order = some(self._random, self.reachable, len(self.reachable))
        return self._probe_order.pop() if self._probe_order else None

    def _ask_others(self, number: int, probe: _Probe) -> list[OutgoingDatagram]:
        others = [each for each in self.reachable if each != probe.target]
        data = encode(PingRequest(number, probe.target, self._piggyback()))
        return [(peer, data) for peer in some(self._random, others, limits.probe_helpers)]

    def _piggyback(self, receiver: bytes = b"") -> tuple[MemberUpdate, ...]:
        """Return the updates for a probe, those first that were sent least often.

        If the receiver does not count as alive, that comes before all of them.
        """
        known = self._members.get(receiver)
        is_alive = known is None or known.state is MemberState.ALIVE
        chosen = [] if known is None or is_alive else [known.update()]
        waiting = sorted(self._updates.items(), key=lambda item: -item[1][1])
        for member, (update, left) in waiting:
            if len(chosen) >= limits.gossip_updates_max:
                break
            if member == receiver and not is_alive:
                continue
            chosen.append(update)
            if left > 1:
                self._updates[member] = (update, left - 1)
            else:
                del self._updates[member]
        return tuple(chosen)
