"""A seeded world of members that gossip: the protocol's own code, a network that is not kind to it.

Virtual time; everything random comes from one seed, so that a run repeats itself bit for bit. A
member is one process on one core: what it receives and sends takes its time, one after the other.
"""

import heapq
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b

from crewgate.core.gossip import capsules
from crewgate.core.gossip.acknowledgements import AckState
from crewgate.core.gossip.capsules import SIGNATURE_BYTES, Capsule, RevocationEntry
from crewgate.core.gossip.membership import Membership
from crewgate.core.gossip.messages import MemberAddress, MemberState, MemberUpdate
from crewgate.core.gossip.protocol import ProtocolNode
from crewgate.core.gossip.protocol_interface import CapsuleCrypto, ProtocolOutput
from crewgate.core.gossip.quorum_freshness import QuorumFreshness
from crewgate.errors import GossipError

CLUSTER = bytes(range(16))
WALL = 1_800_000_000
LIFE = 86_400
Event = Callable[[], None]


@dataclass
class Network:
    """What becomes of a datagram. Times in seconds, chances per datagram."""

    delay: float = 0.0005  # one way, at least
    jitter: float = 0.001  # the mean of what is added, exponentially
    loss: float = 0.0
    bad_loss: float = 0.5  # of those who are `bad`, to and from
    bad: frozenset[int] = frozenset()
    burst_every: float = 0.0  # seconds between bursts, in which a member loses nearly all
    burst: float = 0.05
    duplicates: float = 0.0
    send_cost: float = 8e-6
    receive_cost: float = 12e-6
    cut: Callable[[int, int], bool] = lambda _a, _b: False  # from one to another


def key_of(index: int) -> bytes:
    """What a member signs with, in this world."""
    return blake2b(b"key" + index.to_bytes(4), digest_size=32).digest()


def sign(index: int, message: bytes) -> bytes:
    """64 bytes that only the owner of the key makes: a world has no time for curves."""
    return blake2b(message, key=key_of(index), digest_size=SIGNATURE_BYTES).digest()


def member_id(index: int) -> bytes:
    """Who that is to the others."""
    return blake2b(b"member" + index.to_bytes(4), digest_size=8).digest()


def address_of(index: int) -> MemberAddress:
    """Where it is."""
    return MemberAddress(b"\0" * 10 + b"\xff\xff\x0a\x00" + index.to_bytes(2), 8446)


def know(one: Membership, updates: Iterable[MemberUpdate], now: float) -> None:
    """Enter members of whom the others know already, so that nothing is passed on."""
    for update in updates:
        if update.member != one._me:
            one._set(update, now)


@dataclass
class Machine:
    """One member: its disk outlives its node."""

    index: int
    node: ProtocolNode
    table: dict[tuple[int, bytes], RevocationEntry] = field(default_factory=dict)
    disk: list[bytes] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    counts: bool = True  # as its disk says
    up: bool = True
    life: int = 0
    skew: int = 0
    free_at: float = 0.0
    timer_at: float = float("inf")
    burst_until: float = 0.0
    next_burst: float = 0.0


class World:
    """So many members, all of whom know one another.

    Without `compares` nobody asks what others have accepted: of a thousand members that is a
    million datagrams a second, of which each has no more than two milliseconds.
    """

    def __init__(
        self,
        count: int,
        seed: int,
        network: Network | None = None,
        *,
        compares: bool = True,
        **node: int,
    ) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.network = network or Network()
        self.now = 0.0
        self.sent = 0
        self.bytes = 0
        self.on_apply: Callable[[int, RevocationEntry], None] = lambda _index, _entry: None
        self.on_receipt: Callable[[AckState], None] = lambda _receipt: None
        # When every machine first had the capsules of a receipt.
        self.everywhere_at: dict[AckState, float] = {}
        self._node = node
        self._compares = compares
        self._events: list[tuple[float, int, Event]] = []
        self._order = 0
        self.disk_seconds = 0.002  # until what was written is there
        self._origins = {member_id(index): index for index in range(count)}
        self.may_revoke = set(range(count))
        self.machines = [Machine(index, self._node_of(index)) for index in range(count)]
        for machine in self.machines:
            self._know_everybody(machine)
            machine.next_burst = self.random.uniform(0, self.network.burst_every)
            self._set_timer(machine)

    def __repr__(self) -> str:
        return f"<World seed={self.seed} members={len(self.machines)} now={self.now:.3f}>"

    def everybody(self) -> list[MemberUpdate]:
        """All, alive."""
        return [
            MemberUpdate(member_id(index), MemberState.ALIVE, 0, address_of(index))
            for index in self._origins.values()
        ]

    def trace(self) -> str:
        """What distinguishes this run from any other."""
        held = "".join(machine.node.archive.digest.hex() for machine in self.machines)
        return f"{self.sent} datagrams of {self.bytes} bytes, {self._order} events, {held}"

    def at(self, seconds: float, event: Event) -> None:
        """Have something done `seconds` from now."""
        self._order += 1
        heapq.heappush(self._events, (self.now + seconds, self._order, event))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while self._events and self._events[0][0] <= end:
            self.now, _, event = heapq.heappop(self._events)
            event()
        self.now = end

    def wall(self, machine: Machine) -> int:
        """The wall clock of one."""
        return WALL + int(self.now) + machine.skew

    def revoke(self, index: int, entries: Sequence[RevocationEntry]) -> AckState:
        """One member revokes, and asks all others whether they have it."""
        machine = self.machines[index]
        effects = machine.node.revoke(entries, self.now, self.wall(machine))
        ids = [raw[: capsules.ID_BYTES] for raw in effects.kept]
        receipt = machine.node.receipts.begin(ids, self.now)
        self._carry_out(machine, effects)
        return receipt

    def entry(self, *, kind: int = 1, life: int = LIFE) -> RevocationEntry:
        """A revocation like no other."""
        wall = WALL + int(self.now)
        return RevocationEntry(kind, self.random.randbytes(16), bytes(16), 2**33, wall + life)

    def crash(self, index: int) -> None:
        """What was in memory is gone."""
        self.machines[index].up = False

    def restart(self, index: int, *, keeps_disk: bool = True) -> None:
        """A new life, with what the disk held; what is still to come is heard by nobody of old."""
        machine = self.machines[index]
        machine.life += 1
        machine.up = True
        machine.table.clear()
        if not keeps_disk:
            machine.disk.clear()
            machine.counts = False
        machine.node = self._node_of(index, machine.life)
        machine.node.freshness.counts = machine.counts
        self._know_everybody(machine)
        machine.free_at, machine.timer_at = self.now, float("inf")
        effects = machine.node.take(list(machine.disk), self.now, self.wall(machine))
        machine.node.kept(machine.disk, self.now)
        self._carry_out(machine, effects, keeps=False)

    # Inside.

    def _know_everybody(self, machine: Machine) -> None:
        know(machine.node.members, self.everybody(), self.now)
        members = [each.member for each in self.everybody()] if self._compares else []
        machine.node.merge_views(members, members, self.now)

    def _node_of(self, index: int, life: int = 0) -> ProtocolNode:
        epoch = blake2b(bytes((life,)) + index.to_bytes(4), digest_size=8).digest()
        return ProtocolNode(
            member_id(index) + epoch,
            CLUSTER,
            address_of(index),
            random_source=random.Random(self.random.getrandbits(64)),
            crypto=CapsuleCrypto(
                self._verify, lambda message: sign(index, message), lambda: self.random.randbytes(8)
            ),
            freshness=QuorumFreshness(member_id(index), counts=True),
            **self._node,
        )

    def _verify(self, capsule: Capsule, is_named: bool) -> bool:
        index = self._origins.get(capsule.origin)
        return (
            index is not None
            and index in self.may_revoke
            and (is_named or capsule.signature == sign(index, capsule.signed(CLUSTER)))
        )

    def _carry_out(self, machine: Machine, effects: ProtocolOutput, *, keeps: bool = True) -> None:
        if keeps and effects.kept:
            self.at(self.disk_seconds, partial(self._write, machine, machine.life, effects.kept))
        if effects.counts:
            self._remember_counting(machine)
        machine.alarms += effects.alarms
        for entry in effects.applied:
            if (entry.kind, entry.key) not in machine.table:
                machine.table[entry.kind, entry.key] = entry
                self.on_apply(machine.index, entry)
        start = max(self.now, machine.free_at)
        for peer, data in effects.sends:
            start += self.network.send_cost
            self.send(machine, self._origins[peer], data, start - self.now)
        machine.free_at = start
        for receipt in effects.receipts:
            self.on_receipt(receipt)
            if receipt.is_everywhere:
                self.everywhere_at.setdefault(receipt, self.now)
            if receipt.is_everywhere and receipt.has_quorum:
                machine.node.receipts.end(receipt)
        for peer in effects.compare:
            self._compare(machine, self.machines[self._origins[peer]])
        self._set_timer(machine)

    def send(self, machine: Machine, to: int, data: bytes, after: float) -> None:
        """One datagram, perhaps."""
        network, rng = self.network, self.random
        self.sent += 1
        self.bytes += len(data)
        for _ in range(1 + (network.duplicates > 0 and rng.random() < network.duplicates)):
            if self._is_lost(machine, self.machines[to]):
                continue
            delay = after + network.delay + rng.expovariate(1 / network.jitter)
            receiver, sender = self.machines[to], member_id(machine.index)
            self.at(delay, partial(self._deliver, receiver, receiver.life, sender, data))

    def _is_lost(self, sender: Machine, receiver: Machine) -> bool:
        network, rng = self.network, self.random
        if network.cut(sender.index, receiver.index):
            return True
        if network.loss and rng.random() < network.loss:
            return True
        for each in (sender, receiver):
            if each.index in network.bad and rng.random() < network.bad_loss:
                return True
            if network.burst_every and self._bursts(each) and rng.random() < 0.9:
                return True
        return False

    def _bursts(self, machine: Machine) -> bool:
        if self.now >= machine.next_burst:
            machine.burst_until = machine.next_burst + self.network.burst
            rest = self.random.expovariate(1 / self.network.burst_every)
            machine.next_burst = max(self.now, machine.burst_until) + rest
        return self.now < machine.burst_until

    def _deliver(self, machine: Machine, life: int, sender: bytes, data: bytes) -> None:
        """To a process that may be busy, or gone."""
        if not machine.up or machine.life != life:
            return
        if machine.free_at > self.now:
            self.at(machine.free_at - self.now, lambda: self._deliver(machine, life, sender, data))
            return
        machine.free_at = self.now + self.network.receive_cost
        try:
            effects = machine.node.receive(sender, data, self.now, self.wall(machine))
        except GossipError:
            return
        self._carry_out(machine, effects)

    def _remember_counting(self, machine: Machine) -> None:
        """On the disk, after all that it had to know for that."""
        life = machine.life

        def remember() -> None:
            machine.counts |= machine.up and machine.life == life

        self.at(self.disk_seconds, remember)

    def _write(self, machine: Machine, life: int, raws: list[bytes]) -> None:
        """The disk has it, unless the machine was gone before."""
        if machine.up and machine.life == life:
            machine.disk += raws
            self._carry_out(machine, machine.node.kept(raws, self.now))

    def _compare(self, one: Machine, other: Machine) -> None:
        """A sync over a stream, which loses nothing, if there is a way between them at all."""
        cut = self.network.cut
        if not other.up or cut(one.index, other.index) or cut(other.index, one.index):
            return
        words = [each.node.anti_entropy.summary(self.wall(each)) for each in (other, one)]
        theirs = other.node.archive.differing(one.node.archive.digests())
        ours = one.node.archive.held(theirs)
        given = list(one.node.lacking(theirs)), list(other.node.lacking(ours))
        for taker, raws in zip((other, one), given, strict=True):
            if raws:
                wall = self.wall(taker)
                self._carry_out(taker, taker.node.take(raws, self.now, wall))
        for taker, giver, word in zip((one, other), (other, one), words, strict=True):
            if taker.node.anti_entropy.synced(giver.node.me, word, self.now):
                self._remember_counting(taker)

    def _set_timer(self, machine: Machine) -> None:
        at = max(machine.node.next_at, self.now)
        if at < machine.timer_at:
            machine.timer_at = at
            life = machine.life
            self.at(at - self.now, lambda: self._tick(machine, life, at))

    def _tick(self, machine: Machine, life: int, at: float) -> None:
        if not machine.up or machine.life != life or machine.timer_at != at:
            return
        if machine.free_at > self.now:  # busy
            machine.timer_at = machine.free_at
            later = machine.free_at
            self.at(later - self.now, lambda: self._tick(machine, life, later))
            return
        machine.timer_at = float("inf")
        self._carry_out(machine, machine.node.due(self.now, self.wall(machine)))
