"""This machine as a member: protocol, seals, disk and members' certificates, wired together.

Every method is one plain step that returns at once: it changes state, has datagrams sent, and says
what is left to be done for the tasks of `service`. `now` is seconds of CLOCK_BOOTTIME.
"""

import math
import os
import random
import secrets
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from crewgate import limits
from crewgate.core.budget.ledger_mark import LedgerMark
from crewgate.core.gossip import capsules
from crewgate.core.gossip.acknowledgements import AckState
from crewgate.core.gossip.capsules import Capsule, RevocationEntry
from crewgate.core.gossip.effects import CapsuleCrypto, ProtocolEffects
from crewgate.core.gossip.freshness import QuorumFreshness
from crewgate.core.gossip.messages import MemberAddress
from crewgate.core.gossip.protocol import ProtocolNode
from crewgate.core.rate_limit import TokenBucket
from crewgate.core.x509.identity import MAY_REVOKE
from crewgate.errors import GossipError
from crewgate.gossip.capsule_log import CapsuleLog
from crewgate.gossip.datagram_crypto import (
    Encryptor,
    UnknownKeyError,
    UnknownSenderError,
    sealed_by,
)
from crewgate.gossip.datagram_stats import DatagramStats
from crewgate.gossip.delegate import GossipDelegate
from crewgate.gossip.directory import MemberDirectory
from crewgate.gossip.ledger_marks import LedgerMarks
from crewgate.gossip.member_certificates import CertificateVerifier, MemberCredential
from crewgate.gossip.membership_file import MembershipFile
from crewgate.gossip.membership_state import MembershipState
from crewgate.gossip.revocation_lists import CRLExchange, NoCRLExchange
from crewgate.gossip.sockets import to_where
from crewgate.gossip.stream import AskNameSeen, Hello
from crewgate.runtime.durable_files import describe, make_folder
from crewgate.runtime.fault_reporter import FaultReporter

SendDatagram = Callable[[MemberAddress, bytes], None]
AnswerSeen = Callable[[AskNameSeen], Awaitable[bool | None]]  # None: that cannot be said now


class LocalMember(NamedTuple):
    """Who this machine is: what it shows, what it signs with, and where it keeps what it knows."""

    credential: MemberCredential
    signing: Ed25519PrivateKey
    root: Path
    cluster: bytes
    folder: Path


class GossipNode:
    """One life of one member. `bootstrap` is an operator's word that there is nothing to catch up.

    OSError if its folder cannot be used, GossipError if what it shows is not a gateway's.
    """

    def __init__(
        self,
        me: LocalMember,
        host: GossipDelegate,
        send: SendDatagram,
        *,
        any_other: bool = False,
        bootstrap: bool = False,
    ) -> None:
        make_folder(me.folder, 0o700)
        self.host = host
        self.disk = FaultReporter(host.log, passed="who the members are is on the disk again")
        self.log = CapsuleLog(me.folder, host.log)
        self.unsynced: list[bytes] = []  # capsules on their way to the disk
        self.to_sync: dict[bytes, None] = {}  # members to sync with, in this order
        self.exchanging: set[bytes] = set()  # members whose own conversations are at capsules now
        self.crls: CRLExchange = NoCRLExchange()
        self.on_work: Callable[[], None] = lambda: None
        self.on_receipt: Callable[[AckState], None] = lambda _receipt: None
        self.on_mark: Callable[[LedgerMark], None] = lambda _mark: None  # what others kept for us
        self.on_question: AnswerSeen | None = None
        self.questions = TokenBucket(limits.seen_questions_per_second, limits.seen_questions_burst)
        directory = MemberDirectory(me.folder, CertificateVerifier(me.root), me.cluster)
        self._sign = me.signing.sign
        public = me.signing.public_key().public_bytes_raw()
        if directory.check(me.credential).identity.key != public:
            raise GossipError("signing_key is not the key whose public half is in certificate")
        known = directory.admit(me.credential.signed_by(self._sign, host.wall()))
        self.ledger_marks = LedgerMarks(me.folder, me.cluster, self._sign, public)
        self.company = MembershipState(known, directory, host, me.cluster, self.sync_soon)
        self._membership_file = MembershipFile(me.folder / "standing")
        self.traffic = DatagramStats()
        self._send = send
        self._handing = False  # a member hands over what it has accepted
        self._alarms = TokenBucket(limits.gossip_alarms_per_second, limits.gossip_alarms_burst)
        self._stays_at = -math.inf  # when where we are may be said again
        self._strange_at = -math.inf  # from when what is strange counts again
        self._sealer = Encryptor(known.id, os.urandom(8), self.company.keys)
        self.node = ProtocolNode(
            known.id + os.urandom(8),
            me.cluster,
            known.address,
            random_source=random.Random(secrets.randbits(64)),  # noqa: S311 -- whom to tell is no secret
            crypto=CapsuleCrypto(self._verify, me.signing.sign, lambda: os.urandom(8)),
            freshness=QuorumFreshness(known.id, any_other=any_other, counts=bootstrap),
        )

    def __repr__(self) -> str:
        return f"<GossipNode {self.company!r} {self.node!r}>"

    # Beginning.

    def restore(self) -> None:
        """Take up members and capsules of before; OSError."""
        wall = self.host.wall()
        for text in self.company.directory.restore(wall):
            self.host.log(text)
        self._membership_file.restore(self.node.freshness)
        self.company.add_members(self.node)
        self.company.resume_evictions(self.node)
        replayed = self.log.replay(wall)
        while some := list(islice(replayed, limits.gossip_step_capsules)):
            restored = self.node.restore(some, self.host.now(), self.host.wall())
            self.company.watch(self.node, restored.applied)  # a mark may be lost
            self.host.apply(restored.applied, restored.origins)
        self.company.directory.drop(wall, self.node.archive.origins)
        self.save()  # a word that we count is given once

    # Datagrams, timers, the disk.

    def receive(self, datagram: bytes) -> None:
        """One that has come; whatever is wrong with it changes nothing."""
        now = self.host.now()
        self.traffic.received += 1
        try:
            if (name := sealed_by(datagram)) and name not in self.company.directory:
                raise UnknownSenderError("a datagram of nobody whose certificate has come")
            sender, message = self.company.opener.open(datagram, now)
        except GossipError as error:
            self.traffic.refuse(error)
            if isinstance(error, UnknownKeyError | UnknownSenderError):
                self._sync_on_unknown_key(now)
            return
        try:
            self.carry_out(self.node.receive(sender, message, now, self.host.wall()))
        except GossipError:  # perhaps of an origin whose certificate has not come yet
            self.traffic.ignore()
            self.sync_soon([sender])

    def due(self) -> float:
        """Do what is due, and say when there is more."""
        now, wall = self.host.now(), self.host.wall()
        self.carry_out(self.node.due(now, wall))
        return self.node.next_at

    def kept(self, raws: Sequence[bytes]) -> None:
        """These are on the disk."""
        self.carry_out(self.node.kept(raws, self.host.now()))

    def save(self) -> None:
        """Have the disk know who the members are, and whether we count; before we act on it.

        Certificates first: a member without one can be asked nothing, and counts for ever.
        """
        self.company.directory.flush()
        why = self.company.directory.trouble
        try:
            if self.node.freshness.counts and not self._membership_file.counts:
                self.log.sync()  # or we should count, after a crash, for what we have lost
            self._membership_file.save(self.node.freshness, is_complete=not self.log.incomplete)
        except OSError as error:
            why = describe(error)
        self.disk.note(f"{why}; a restart may know less of members" if why else "")

    def upkeep(self) -> None:
        """Every second: keys, members, where we are, and files that are over. OSError."""
        self.company.upkeep(self.node)
        self._reassert_address()
        written = self.log.retry(self.host.wall())
        self.save()
        self.log.drop(self.host.wall())
        if written:
            self.unsynced += written
            self.on_work()

    def farewell(self) -> None:
        """Tell a few that this is no failure."""
        self._send_all(self.node.members.leave())

    # What people ask for.

    def revoke(self, entries: Sequence[RevocationEntry]) -> list[bytes]:
        """Tell all others; the ids of the capsules. They are in force here already.

        ValueError if nobody would obey: who was handed what it cannot judge compares no more.
        """
        effects, may_revoke = ProtocolEffects(), self.company.may_revoke
        if may_revoke:
            effects = self.node.revoke(entries, self.host.now(), self.host.wall())
            effects.applied.clear()
        if self.company.watch(self.node, entries):
            self.company.rotate(self.node, voids=True)  # one who is out must not read on
        self.carry_out(effects)
        if not may_revoke:
            raise ValueError(
                f"no certificate of this machine has the right {MAY_REVOKE} at this time, so no "
                "other would obey; it tells them when it is started with one"
            )
        return [raw[: capsules.ID_BYTES] for raw in effects.kept]

    def drop(self, member: bytes) -> None:
        """It is gone for good by the word of a person: nobody is asked."""
        self.node.freshness.drop(member)
        if self.company.evict(self.node, member, self.host.wall()):
            self.company.rotate(self.node, voids=True)
        self.save()

    # Streams.

    def take(self, raws: Sequence[bytes]) -> None:
        """Capsules that a member hands over, all or none of them; GossipError."""
        self._handing = True
        try:
            effects = self.node.take(raws, self.host.now(), self.host.wall())
        finally:
            self._handing = False
        self.carry_out(effects)

    def renew(self, credential: MemberCredential) -> None:
        """Show another certificate of this machine from now on; GossipError."""
        known = self.company.directory.check(credential)
        if known.id != self.company.me.id or known.identity.key != self.company.me.identity.key:
            raise GossipError(f"{known.name} has another name or signing key")
        shown = credential.signed_by(self._sign, self.host.wall())
        self.company.me = self.company.directory.admit(shown)
        self.save()

    def synced(self, member: bytes, hello: Hello, asked_at: float) -> None:
        """All that a member had when it said hello is here.

        Only now may this machine drop the members that the other has dropped. Before, it would
        take a majority of fewer members for enough, and lack what the other was asked to know.
        """
        if hello.word.counts:
            self.node.drop_members(hello.members, self.host.now())
        self.node.anti_entropy.synced(member, hello.word, asked_at)
        self.save()

    def sync_soon(self, members: Iterable[bytes]) -> None:
        """Have a stream to each of these, one after the other."""
        for member in members:
            if len(self.to_sync) < limits.gossip_members_max:
                self.to_sync.setdefault(member)
        self.on_work()

    def carry_out(self, effects: ProtocolEffects) -> None:
        """Do what the protocol asks for, in its order."""
        self.unsynced += self.log.append(effects.kept)  # of no other is told that it is on the disk
        if effects.applied:
            self.company.watch(self.node, effects.applied)
            self.host.apply(effects.applied, effects.origins)
        if effects.counts:
            self.save()
        self._send_all(effects.sends)
        for alarm in effects.alarms:
            if self._alarms.take(self.host.now()):
                self.host.log(alarm)
        for receipt in effects.receipts:
            self.on_receipt(receipt)
        self.sync_soon(effects.compare)

    def _reassert_address(self) -> None:
        """Where another machine has said that it is us, say again where we are.

        It runs on a copy of our folder, and has what was meant for us; and would, once it has
        ended, until we are started again. Two that go on so must not fill the wire with it.
        """
        me, now = self.company.me, self.host.now()
        shown = self.company.directory.get(me.id)
        if shown is None or shown.address == me.address or now < self._stays_at:
            return
        self._stays_at = now + limits.join_seconds_max
        host, port = to_where(shown.address)
        self.host.log(
            f"another machine has shown this one's certificate, from {host} port {port}: end it, "
            "and make it one of its own with `crewgate init --from`"
        )
        told = min(max(self.host.wall(), shown.credential.told + 1), limits.time_seconds_max)
        self.company.me = self.company.directory.admit(me.credential.signed_by(self._sign, told))
        self.sync_soon(self.node.members.reachable)

    def _verify(self, capsule: Capsule, is_named: bool) -> bool:  # noqa: FBT001 -- as Crypto has it
        return self.company.has_signed(capsule, is_named=is_named, is_handed=self._handing)

    def _send_all(self, messages: Iterable[tuple[bytes, bytes]]) -> None:
        for member, message in messages:
            known = self.node.members.get(member)
            if known is not None and self.company.keys.number:
                self.traffic.sent += 1
                self._send(known.address, self._sealer.seal(member, message))

    def _sync_on_unknown_key(self, now: float) -> None:
        """There may be keys or members to learn of: but anybody can send what nobody can open."""
        there = self.node.members.reachable
        if there and now >= self._strange_at:
            self._strange_at = now + limits.strange_seconds
            self.sync_soon([random.choice(there)])  # noqa: S311 -- no secret
