"""Runs the protocol of one member: messages in, messages and revocations out.

`ProtocolNode` connects the parts of this package, and decides what happens with each message. Time
and bytes come as arguments. `ProtocolOutput` tells the caller what to send, apply, sync and
log. The module knows no sockets and no encryption, and not what a revocation does.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from crewgate import limits
from crewgate.core.gossip import capsules, messages
from crewgate.core.gossip.accept_log import HandledUnstoredIds
from crewgate.core.gossip.acknowledgements import AckTracker
from crewgate.core.gossip.anti_entropy import AntiEntropy
from crewgate.core.gossip.capsule_store import AcceptResult, CapsuleStore, Held
from crewgate.core.gossip.capsule_verification import CapsuleVerifier
from crewgate.core.gossip.capsules import Capsule, RevocationEntry
from crewgate.core.gossip.dissemination import Disseminator, EgressBudget
from crewgate.core.gossip.membership import Membership
from crewgate.core.gossip.protocol_interface import CapsuleCrypto, ProtocolOutput
from crewgate.core.gossip.quorum_freshness import QuorumFreshness
from crewgate.core.gossip.randomness import RandomSource, some
from crewgate.errors import GossipError

# Tuples, because it takes long to hash a member of an enumeration for a set.
_STORED = (AcceptResult.NEW, AcceptResult.CONFLICT)
_APPLIED = *_STORED, AcceptResult.UNKEPT
_ALARMS = {
    AcceptResult.CONFLICT: "another capsule has this id; its origin is dishonest, or a copy of its "
    "folder runs on another machine: end the copy",
    AcceptResult.UNKEPT: "it is in force here, but not stored and not passed on: there is no room "
    "for it, or it expires too late",
}


class ProtocolNode:
    """One member in one run.

    `line` is its id (8 bytes) and an epoch (8 bytes) that none of its other runs has. In all
    methods, `now` is seconds of a monotonic clock, and `wall` whole seconds of the wall clock.
    """

    def __init__(
        self,
        line: bytes,
        cluster: bytes,
        address: messages.MemberAddress,
        *,
        random_source: RandomSource,
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
        self.members = Membership(self.me, address, random_source)
        self._line = line
        self._cluster = cluster
        self._random = random_source
        self._sign = crypto.sign
        self._verifier = CapsuleVerifier(self.archive, crypto.verify)
        self._egress = EgressBudget()
        self._disseminator = Disseminator(random_source, self._egress, origin_peers=origin_peers)
        self._number = 0
        self._previous = capsules.NONE  # what this member's next capsule names
        # Until when each requested id is not requested again.
        self._wanted: dict[bytes, float] = {}
        self._settled = HandledUnstoredIds()
        # When this member last accepted a capsule, or synced because digests differed.
        self._changed_at = 0.0
        self._next_sync = 0.0

    @property
    def next_at(self) -> float:
        """When `due` next has something to do."""
        push_at = self._disseminator.next_at
        at = min(self.members.next_at, self._next_sync)
        at = min(at, self.anti_entropy.next_at, self.receipts.next_at)
        return at if push_at is None else min(at, push_at)

    def revoke(self, entries: Sequence[RevocationEntry], now: float, wall: int) -> ProtocolOutput:
        """Sign revocations of this member, in as many capsules as they need, and push them."""
        effects = ProtocolOutput()
        for at in range(0, len(entries), limits.capsule_entries_max):
            some_ = entries[at : at + limits.capsule_entries_max]
            self._number += 1
            capsule = capsules.unsigned(self._line, self._number, wall, some_, self._previous)
            capsule = capsules.seal(capsule, self._sign(capsule.signed(self._cluster)))
            self._previous = capsules.digest_of(capsule.raw)
            self._take(capsule, effects, now, wall, is_own=True)
        return effects

    def receive(self, sender: bytes, data: bytes, now: float, wall: int) -> ProtocolOutput:
        """Handle a message of `sender`. An invalid one raises GossipError and changes nothing."""
        message = messages.decode(data)
        effects = ProtocolOutput()
        if isinstance(message, messages.Push):
            for capsule in self._verifier.new([message.raw]):
                if not self._verifier.is_good(capsule):
                    raise GossipError(f"capsule {capsule.id.hex()}: its origin has not signed it")
                self._take(capsule, effects, now, wall)
        elif isinstance(message, messages.IHave):
            self._request(sender, message.ids, effects, now)
        elif isinstance(message, messages.IWant):
            self._hand_over(sender, message.ids, effects, now)
        elif isinstance(message, messages.AcceptLogRequest):
            effects.sends.append((sender, messages.encode(self.anti_entropy.answer(message, wall))))
        elif isinstance(message, messages.AcceptLogResponse):
            self._compare(sender, message, effects, now, wall)
        elif isinstance(message, messages.PersistQuery):
            self._request(sender, message.ids, effects, now)
            effects.sends += self.receipts.checked(sender, message)
        elif isinstance(message, messages.PersistAck):
            effects.receipts += self.receipts.on_ack(sender, message, now)
        else:
            self._on_probe(sender, message, effects, now)
        return effects

    def add_members(
        self, members: Iterable[tuple[bytes, messages.MemberAddress]], now: float
    ) -> None:
        """Add machines that have shown a certificate of this cluster, here or to another member."""
        others = []
        for member, address in members:
            if member != self.me:
                self.members.introduce(member, address, now)
                others.append(member)
        self.freshness.admit(others)
        self.anti_entropy.ask_all(now)

    def merge_views(self, members: Iterable[bytes], counted: Iterable[bytes], now: float) -> None:
        """Merge the view of another member: the members, and those of them that ever counted."""
        self.freshness.merge(members, counted, now)
        self.anti_entropy.ask_all(now)

    def drop_members(self, members: Iterable[bytes], now: float) -> None:
        """Drop the leaving members that are not in `members`, the view of another that counts."""
        if self.freshness.let_go(members):
            self.anti_entropy.ask_all(now)

    def evict(self, member: bytes, now: float) -> None:
        """Send an evicted member nothing more. It stays in the view until a majority agrees."""
        self.freshness.leave(member, now)
        self.members.forget(member)
        self.anti_entropy.ask_all(now)

    def kept(self, raws: Iterable[bytes], now: float) -> ProtocolOutput:
        """Enter that these capsules are on the disk."""
        effects = ProtocolOutput()
        ids = (raw[: capsules.ID_BYTES] for raw in raws)
        effects.sends, effects.receipts = self.receipts.kept(ids, now)
        return effects

    def due(self, now: float, wall: int) -> ProtocolOutput:
        """Do everything that is due by now."""
        self.archive.expire(wall)
        effects = ProtocolOutput()
        effects.sends += self._disseminator.due(self.members.reachable, now)
        effects.sends += self.members.due(self.archive.digest, now)
        effects.sends += self.anti_entropy.due(now) + self.receipts.due(now)
        if now >= self._next_sync:
            self._next_sync = now + limits.sync_seconds * self._random.uniform(0.9, 1.1)
            effects.compare += some(self._random, self.members.reachable, 1)
            self._wanted = {id_: at for id_, at in self._wanted.items() if at > now}
            self.receipts.forget_askers()
        return effects

    def lacking(self, held: Held) -> Iterator[bytes]:
        """Return the capsules that a member with `held` lacks (see `CapsuleStore.lacking`).

        GossipError if `held` is not valid.
        """
        try:
            return self.archive.lacking(held)
        except ValueError as error:
            raise GossipError(str(error)) from error

    def take(self, raws: Iterable[bytes], now: float, wall: int) -> ProtocolOutput:
        """Take capsules that a member hands over. They are not pushed: there may be a million.

        Capsules that their origins have not signed are left out. GossipError if one cannot be
        decoded, or if no certificate here allows its origin to sign it. Then none is taken: a
        capsule that was stored and never applied would count as known for ever.
        """
        effects = ProtocolOutput()
        for capsule in self._verifier.new(raws):
            if self._verifier.is_good(capsule):
                self._take(capsule, effects, now, wall, pushes=False)
        return effects

    def restore(self, raws: Iterable[bytes], now: float, wall: int) -> ProtocolOutput:
        """Take the capsules of this member's own disk, which were verified before they got there.

        A capsule that only a later version can read is left out, and stays on the disk. The effects
        are only revocations to apply.
        """
        effects = ProtocolOutput()
        for raw in raws:
            with suppress(GossipError):
                self._take(capsules.decode(raw), effects, now, wall, pushes=False)
        self.kept(effects.kept, now)
        return ProtocolOutput(applied=effects.applied, origins=effects.origins)

    def _take(
        self,
        capsule: Capsule,
        effects: ProtocolOutput,
        now: float,
        wall: int,
        *,
        pushes: bool = True,
        is_own: bool = False,
    ) -> None:
        """Store, apply and push a good capsule."""
        result = self.archive.accept(capsule, wall)
        if result in _APPLIED:
            applied = [each for each in capsule.entries if each.expires > wall]
            effects.applied += applied
            effects.origins += [capsule.origin] * len(applied)
        if result in _STORED:
            self._changed_at = now
            self._wanted.pop(capsule.id, None)
            self.anti_entropy.accepted.add(capsule.id)
            self.receipts.accepted(capsule.id)
            effects.kept.append(capsule.raw)
            if pushes:
                peers = self.members.reachable
                effects.sends += self._disseminator.begin(capsule.raw, peers, now, is_own=is_own)
        elif result is not AcceptResult.KNOWN:
            self._settled.add(capsule.id)
        if result is AcceptResult.CONFLICT:
            self.anti_entropy.accepted.forget()
        if result in (AcceptResult.CONFLICT, AcceptResult.UNKEPT):
            effects.alarms.append(f"capsule {capsule.id.hex()}: {_ALARMS[result]}")

    def _holds(self, id_: bytes) -> bool:
        return self.archive.get(id_) is not None

    def _has(self, id_: bytes) -> bool:
        return self._holds(id_) or id_ in self._settled

    def _compare(
        self,
        sender: bytes,
        answer: messages.AcceptLogResponse,
        effects: ProtocolOutput,
        now: float,
        wall: int,
    ) -> None:
        found = self.anti_entropy.answered(sender, answer, now, wall)
        self._request(sender, found.lacking, effects, now)
        effects.counts = found.counts
        if found.needs_sync:
            effects.compare.append(sender)

    def _request(
        self, sender: bytes, ids: Sequence[bytes], effects: ProtocolOutput, now: float
    ) -> None:
        """Request the capsules that are lacking, except those that were requested just now."""
        lacking = [id_ for id_ in ids if not self._has(id_) and self._wanted.get(id_, 0) <= now]
        if len(self._wanted) + len(lacking) > limits.wants_max:
            self._wanted = {id_: at for id_, at in self._wanted.items() if at > now}
        if not lacking or len(self._wanted) + len(lacking) > limits.wants_max:
            return
        self._wanted.update((id_, now + limits.want_again_seconds) for id_ in lacking)
        effects.sends.append((sender, messages.encode(messages.IWant(tuple(lacking)))))

    def _hand_over(
        self, sender: bytes, ids: Sequence[bytes], effects: ProtocolOutput, now: float
    ) -> None:
        """Send the requested capsules, as far as the bandwidth budget allows."""
        for raw in filter(None, map(self.archive.get, ids)):
            if self._egress.level(now) <= 0:
                return
            data = messages.encode(messages.Push(raw))
            self._egress.spend(len(data))
            effects.sends.append((sender, data))

    def _on_probe(
        self,
        sender: bytes,
        message: messages.Ping | messages.Ack | messages.PingRequest,
        effects: ProtocolOutput,
        now: float,
    ) -> None:
        members, digest = self.members, self.archive.digest
        if isinstance(message, messages.Ping):
            effects.sends += members.pinged(sender, message, digest, now)
        elif isinstance(message, messages.PingRequest):
            effects.sends += members.asked(sender, message, digest, now)
            return
        else:
            effects.sends += members.acked(message, now)
        is_quiet = now - self._changed_at >= limits.sync_quiet_seconds
        if message.digest != digest and is_quiet:
            # One sync is enough, however many members have another digest now.
            self._changed_at = now
            effects.compare.append(sender)
