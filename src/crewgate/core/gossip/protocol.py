"""One member of the gossip: messages in, messages and revocations out.

Wires archive, spread and membership, and decides what becomes of each message. Time and bytes come
as arguments; what is to be sent, applied, compared or said comes back as `ProtocolEffects`. Knows
neither sockets nor seals, nor what a revocation does.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from crewgate import limits
from crewgate.core.gossip import capsules
from crewgate.core.gossip.accept_log import SeenIds
from crewgate.core.gossip.acknowledgements import AckTracker
from crewgate.core.gossip.anti_entropy import AntiEntropy
from crewgate.core.gossip.capsule_store import AcceptResult, CapsuleStore, Held
from crewgate.core.gossip.capsule_verification import CapsuleVerifier
from crewgate.core.gossip.capsules import Capsule, RevocationEntry
from crewgate.core.gossip.dissemination import Disseminator, EgressBudget
from crewgate.core.gossip.effects import CapsuleCrypto, ProtocolEffects
from crewgate.core.gossip.freshness import QuorumFreshness
from crewgate.core.gossip.membership import Membership
from crewgate.core.gossip.messages import (
    Ack,
    IHave,
    IWant,
    MemberAddress,
    PersistAck,
    PersistQuery,
    Ping,
    PingRequest,
    PullRequest,
    PullResponse,
    Push,
    decode,
    encode,
)
from crewgate.core.gossip.randomness import RandomSource, some
from crewgate.errors import GossipError

_SPREAD = (
    AcceptResult.NEW,
    AcceptResult.CONFLICT,
)  # no sets: it takes long to hash one of an enumeration
_APPLIED = *_SPREAD, AcceptResult.UNKEPT


class ProtocolNode:
    """One member in one life: `line` is its id and an epoch that no other life of it has had.

    `now` is seconds of a clock that is never set, `wall` whole seconds of one that may be.
    """

    def __init__(
        self,
        line: bytes,
        cluster: bytes,
        address: MemberAddress,
        *,
        chance: RandomSource,
        crypto: CapsuleCrypto,
        freshness: QuorumFreshness,
        origin_peers: int = limits.spread_origin_peers,
    ) -> None:
        self.me = line[: capsules.MEMBER_BYTES]
        self.life = line[capsules.MEMBER_BYTES :]
        self.archive = CapsuleStore()
        self.freshness = freshness
        self.anti_entropy = AntiEntropy(
            self.life, freshness, has=self._has, holds=self._holds, nonce=crypto.nonce
        )
        self.receipts = AckTracker(freshness, self._holds)
        self.members = Membership(self.me, address, chance)
        self._line = line
        self._cluster = cluster
        self._chance = chance
        self._sign = crypto.sign
        self._judging = CapsuleVerifier(self.archive, crypto.verify)
        self._spread = Disseminator(chance, egress := EgressBudget(), origin_peers=origin_peers)
        self._egress = egress
        self._number = 0
        self._previous = capsules.NONE  # what our next capsule names
        self._wanted: dict[bytes, float] = {}  # until when it is asked of nobody else
        self._settled = SeenIds()
        self._news_at = 0.0
        self._next_sync = 0.0

    def __repr__(self) -> str:
        return f"<Node {self.me.hex()} {self.archive!r} {self.members!r}>"

    @property
    def next_at(self) -> float:
        """When `due` has something to do."""
        spread = self._spread.next_at
        at = min(self.members.next_at, self._next_sync)
        at = min(at, self.anti_entropy.next_at, self.receipts.next_at)
        return at if spread is None else min(at, spread)

    def revoke(self, entries: Sequence[RevocationEntry], now: float, wall: int) -> ProtocolEffects:
        """Sign revocations of our own, as many capsules as they need, and begin to tell them."""
        effects = ProtocolEffects()
        for at in range(0, len(entries), limits.capsule_entries_max):
            some_ = entries[at : at + limits.capsule_entries_max]
            self._number += 1
            capsule = capsules.unsigned(self._line, self._number, wall, some_, self._previous)
            capsule = capsules.seal(capsule, self._sign(capsule.signed(self._cluster)))
            self._previous = capsules.digest_of(capsule.raw)
            self._take(capsule, effects, now, wall, is_own=True)
        return effects

    def receive(self, sender: bytes, data: bytes, now: float, wall: int) -> ProtocolEffects:
        """What `sender` has sent; GossipError for what no member says, and nothing has changed."""
        message = decode(data)
        effects = ProtocolEffects()
        if isinstance(message, Push):
            for capsule in self._judging.new([message.raw]):
                if not self._judging.is_good(capsule):
                    raise GossipError("a capsule that no origin signed")
                self._take(capsule, effects, now, wall)
        elif isinstance(message, IHave):
            self._ask_for(sender, message.ids, effects, now)
        elif isinstance(message, IWant):
            self._hand(sender, message.ids, effects, now)
        elif isinstance(message, PullRequest):
            effects.sends.append((sender, encode(self.anti_entropy.answer(message, wall))))
        elif isinstance(message, PullResponse):
            self._compare(sender, message, effects, now, wall)
        elif isinstance(message, PersistQuery):
            self._ask_for(sender, message.ids, effects, now)
            effects.sends += self.receipts.checked(sender, message)
        elif isinstance(message, PersistAck):
            effects.receipts += self.receipts.on_ack(sender, message, now)
        else:
            self._probed(sender, message, effects, now)
        return effects

    def add_members(self, members: Iterable[tuple[bytes, MemberAddress]], now: float) -> None:
        """These have shown certificates of this cluster some time, to us or to somebody else."""
        met = []
        for member, address in members:
            if member != self.me:
                self.members.introduce(member, address, now)
                met.append(member)
        self.freshness.admit(met)
        self.anti_entropy.ask_all(now)

    def merge_views(self, members: Iterable[bytes], counted: Iterable[bytes], now: float) -> None:
        """Whom another takes for members, and who of them has ever counted."""
        self.freshness.merge(members, counted, now)
        self.anti_entropy.ask_all(now)

    def drop_members(self, members: Iterable[bytes], now: float) -> None:
        """Whom another that counts takes for all members."""
        if self.freshness.let_go(members):
            self.anti_entropy.ask_all(now)

    def evict(self, member: bytes, now: float) -> None:
        """One that was evicted: it is told nothing, and counts until a majority was asked."""
        self.freshness.leave(member, now)
        self.members.forget(member)
        self.anti_entropy.ask_all(now)

    def kept(self, raws: Iterable[bytes], now: float) -> ProtocolEffects:
        """These capsules are on the disk."""
        effects = ProtocolEffects()
        ids = (raw[: capsules.ID_BYTES] for raw in raws)
        effects.sends, effects.receipts = self.receipts.kept(ids, now)
        return effects

    def due(self, now: float, wall: int) -> ProtocolEffects:
        """What is to be done by now."""
        self.archive.expire(wall)
        effects = ProtocolEffects()
        effects.sends += self._spread.due(self.members.reachable, now)
        effects.sends += self.members.due(self.archive.digest, now)
        effects.sends += self.anti_entropy.due(now) + self.receipts.due(now)
        if now >= self._next_sync:
            self._next_sync = now + limits.sync_seconds * self._chance.uniform(0.9, 1.1)
            effects.compare += some(self._chance, self.members.reachable, 1)
            self._wanted = {id_: at for id_, at in self._wanted.items() if at > now}
            self.receipts.forget_askers()
        return effects

    def lacking(self, held: Held) -> Iterator[bytes]:
        """What to hand to somebody who has so much; GossipError for what nobody says."""
        try:
            return self.archive.lacking(held)
        except ValueError as error:
            raise GossipError(str(error)) from error

    def take(self, raws: Iterable[bytes], now: float, wall: int) -> ProtocolEffects:
        """Capsules that somebody handed over; they are not told on, for they may be a million.

        Those that no origin signed are left out. GossipError if there is one among them that is
        none, or of which nobody here can tell, and none of them was taken: what is remembered and
        never applied would be taken for known ever after.
        """
        effects = ProtocolEffects()
        for capsule in self._judging.new(raws):
            if self._judging.is_good(capsule):
                self._take(capsule, effects, now, wall, tells=False)
        return effects

    def restore(self, raws: Iterable[bytes], now: float, wall: int) -> ProtocolEffects:
        """What is on our own disk was good before it came there; what a later version wrote waits.

        Only what is to be applied is asked for.
        """
        effects = ProtocolEffects()
        for raw in raws:
            with suppress(GossipError):
                self._take(capsules.decode(raw), effects, now, wall, tells=False)
        self.kept(effects.kept, now)
        return ProtocolEffects(applied=effects.applied, origins=effects.origins)

    def _take(
        self,
        capsule: Capsule,
        effects: ProtocolEffects,
        now: float,
        wall: int,
        *,
        tells: bool = True,
        is_own: bool = False,
    ) -> None:
        """Keep, apply and tell a capsule that is good."""
        standing = self.archive.accept(capsule, wall)
        if standing in _APPLIED:
            applied = [each for each in capsule.entries if each.expires > wall]
            effects.applied += applied
            effects.origins += [capsule.origin] * len(applied)
        if standing in _SPREAD:
            self._news_at = now
            self._wanted.pop(capsule.id, None)
            self.anti_entropy.accepted.add(capsule.id)
            self.receipts.accepted(capsule.id)
            effects.kept.append(capsule.raw)
            if tells:
                peers = self.members.reachable
                effects.sends += self._spread.begin(capsule.raw, peers, now, is_own=is_own)
        elif standing is not AcceptResult.KNOWN:
            self._settled.add(capsule.id)
        if standing is AcceptResult.CONFLICT:
            self.anti_entropy.accepted.forget()
        if standing in (AcceptResult.CONFLICT, AcceptResult.UNKEPT):
            effects.alarms.append(f"{standing.value}: a capsule of {capsule.id.hex()}")

    def _holds(self, id_: bytes) -> bool:
        return self.archive.get(id_) is not None

    def _has(self, id_: bytes) -> bool:
        return self._holds(id_) or id_ in self._settled

    def _compare(
        self, sender: bytes, answer: PullResponse, effects: ProtocolEffects, now: float, wall: int
    ) -> None:
        found = self.anti_entropy.answered(sender, answer, now, wall)
        self._ask_for(sender, found.lacking, effects, now)
        effects.counts = found.counts
        if found.needs_sync:
            effects.compare.append(sender)

    def _ask_for(
        self, sender: bytes, ids: Sequence[bytes], effects: ProtocolEffects, now: float
    ) -> None:
        lacking = [id_ for id_ in ids if not self._has(id_) and self._wanted.get(id_, 0) <= now]
        if len(self._wanted) + len(lacking) > limits.wants_max:
            self._wanted = {id_: at for id_, at in self._wanted.items() if at > now}
        if not lacking or len(self._wanted) + len(lacking) > limits.wants_max:
            return
        self._wanted.update((id_, now + limits.want_again_seconds) for id_ in lacking)
        effects.sends.append((sender, encode(IWant(tuple(lacking)))))

    def _hand(
        self, sender: bytes, ids: Sequence[bytes], effects: ProtocolEffects, now: float
    ) -> None:
        """Give what is asked for, as far as there is anything left to send."""
        for raw in filter(None, map(self.archive.get, ids)):
            if self._egress.level(now) <= 0:
                return
            data = encode(Push(raw))
            self._egress.spend(len(data))
            effects.sends.append((sender, data))

    def _probed(
        self, sender: bytes, message: Ping | Ack | PingRequest, effects: ProtocolEffects, now: float
    ) -> None:
        members, digest = self.members, self.archive.digest
        if isinstance(message, Ping):
            effects.sends += members.pinged(sender, message, digest, now)
        elif isinstance(message, PingRequest):
            effects.sends += members.asked(sender, message, digest, now)
            return
        else:
            effects.sends += members.acked(message, now)
        is_quiet = now - self._news_at >= limits.sync_quiet_seconds
        if message.digest != digest and is_quiet:
            self._news_at = now  # once for all who say so now
            effects.compare.append(sender)
