"""Runs this machine as a member: connects the protocol with encryption, the disk and certificates.

No method waits for the network. A method changes state, sends datagrams, and leaves the rest to the
tasks of `transport`. `now` is seconds of CLOCK_BOOTTIME.
"""

import math
import os
import random
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from crewgate import limits
from crewgate.core.budget.ledger_mark import LedgerMark
from crewgate.core.gossip import capsules
from crewgate.core.gossip.acknowledgements import AckState
from crewgate.core.gossip.capsules import Capsule, RevocationEntry
from crewgate.core.gossip.messages import MemberAddress
from crewgate.core.gossip.protocol import ProtocolNode
from crewgate.core.gossip.protocol_interface import CapsuleCrypto, ProtocolOutput
from crewgate.core.gossip.quorum_freshness import QuorumFreshness
from crewgate.core.rate_limit import TokenBucket
from crewgate.core.x509.identity_extension import MAY_REVOKE
from crewgate.core.x509.identity_oids import STANDARD, IdentityOIDs
from crewgate.errors import GossipError
from crewgate.gossip.capsule_journal import CapsuleJournal
from crewgate.gossip.crl_negotiation import LocalCRL
from crewgate.gossip.datagram_crypto import (
    DatagramError,
    Encryptor,
    UnknownKeyError,
    UnknownSenderError,
    sealed_by,
)
from crewgate.gossip.delegate import GossipDelegate
from crewgate.gossip.kept_checkpoints import KeptCheckpoints
from crewgate.gossip.ledger_marks import LedgerMarks
from crewgate.gossip.member_admission import MemberAdmission
from crewgate.gossip.member_certificate_store import MemberCertificateStore
from crewgate.gossip.member_verification import CertificateVerifier, SignedMemberRecord
from crewgate.gossip.quorum_view_file import QuorumViewFile
from crewgate.gossip.sockets import to_where
from crewgate.gossip.stream import Hello, TargetExistenceQuery
from crewgate.runtime.durable_files import describe, make_folder
from crewgate.runtime.fault_transition_logger import FaultTransitionLogger

SendDatagram = Callable[[MemberAddress, bytes], None]
AnswerSeen = Callable[[TargetExistenceQuery], Awaitable[bool | None]]  # None: it is not known now
# Returns the pages of the answer to a question, or raises ServiceRefusedError.
AnswerMember = Callable[[bytes], Awaitable[Sequence[bytes]]]


class LocalMemberIdentity(NamedTuple):
    """What makes this machine a member.

    It has its certificates and address, its signing key, the file with the roots of its CA, the id
    of its cluster (16 bytes), and the folder for what it knows.
    """

    credential: SignedMemberRecord
    signing: Ed25519PrivateKey
    root: Path
    cluster: bytes
    folder: Path
    oids: IdentityOIDs = STANDARD


@dataclass
class DatagramStats:
    """How many datagrams a member has sent and received since its start.

    `refused` counts, by reason, those of the received ones that were refused.
    """

    sent: int = 0
    received: int = 0
    refused: Counter[str] = field(default_factory=Counter)


class GossipNode:
    """One run of one member.

    With `bootstrap`, an operator says that there is nothing to catch up on. OSError if the folder
    cannot be used, GossipError if the certificate is not one of a gateway.
    """

    def __init__(
        self,
        me: LocalMemberIdentity,
        host: GossipDelegate,
        send: SendDatagram,
        *,
        any_other: bool = False,
        bootstrap: bool = False,
    ) -> None:
        make_folder(me.folder, 0o700)
        self.host = host
        self.disk = FaultTransitionLogger(
            host.log, recovered="the members and their certificates are on the disk again"
        )
        self.log = CapsuleJournal(me.folder, host.log)
        self.unsynced: list[bytes] = []  # capsules on their way to the disk
        self.to_sync: dict[bytes, None] = {}  # members to sync with, in this order
        # Members that have begun a sync which is exchanging capsules now.
        self.exchanging: set[bytes] = set()
        self.crls: LocalCRL | None = None  # None: there is no CRL here, and none is wanted
        # The transport has something to do: a sync, a write, or a datagram.
        self.on_work: Callable[[], None] = lambda: None
        self.on_receipt: Callable[[AckState], None] = lambda _receipt: None
        # Another member has sent back the last mark of this machine's ledger.
        self.on_mark: Callable[[LedgerMark], None] = lambda _mark: None
        self.on_question: AnswerSeen | None = None
        self.questions = TokenBucket(limits.seen_questions_per_second, limits.seen_questions_burst)
        self.on_member_question: AnswerMember | None = None
        self.member_questions = TokenBucket(
            limits.member_questions_per_second, limits.member_questions_burst
        )
        trust = CertificateVerifier(me.root, me.oids)
        certificates = MemberCertificateStore(me.folder, trust, me.cluster)
        self._sign = me.signing.sign
        public = me.signing.public_key().public_bytes_raw()
        if certificates.check(me.credential).identity.key != public:
            raise GossipError(
                "signing_key does not belong to certificate, which has another public key"
            )
        known = certificates.admit(me.credential.signed_by(self._sign, host.wall()))
        self.ledger_marks = LedgerMarks(me.folder, me.cluster, self._sign, public)
        self.kept_checkpoints = KeptCheckpoints(me.folder)
        self.membership = MemberAdmission(known, certificates, host, me.cluster, self.sync_soon)
        self._membership_file = QuorumViewFile(me.folder / "standing")
        self.traffic = DatagramStats()
        self._send = send
        self._is_handover = False  # whether a member hands over what it has accepted
        self._alarms = TokenBucket(limits.gossip_alarms_per_second, limits.gossip_alarms_burst)
        self._reassert_at = -math.inf  # from when this machine may state its address again
        self._unknown_sync_at = -math.inf  # from when an unknown key or sender leads to a sync
        self._encryptor = Encryptor(known.id, os.urandom(8), self.membership.keys)
        self.node = ProtocolNode(
            known.id + os.urandom(8),
            me.cluster,
            known.address,
            random_source=random.Random(secrets.randbits(64)),  # noqa: S311 -- choices are no secret
            crypto=CapsuleCrypto(self._verify, me.signing.sign, lambda: os.urandom(8)),
            freshness=QuorumFreshness(known.id, any_other=any_other, counts=bootstrap),
        )

    def restore(self) -> None:
        """Read the members and the capsules from the disk. Raises OSError."""
        wall = self.host.wall()
        for text in self.membership.certificates.restore(wall):
            self.host.log(text)
        self._membership_file.restore(self.node.freshness)
        self.membership.add_members(self.node)
        self.membership.resume_evictions(self.node)
        replayed = self.log.replay(wall)
        while some := list(islice(replayed, limits.gossip_step_capsules)):
            restored = self.node.restore(some, self.host.now(), self.host.wall())
            # The file of an eviction may be lost: then its revocation evicts the member again.
            self.membership.watch(self.node, restored.applied)
            self.host.apply(restored.applied, restored.origins)
        self.membership.certificates.drop(wall, self.node.archive.origins)
        # An operator gives `bootstrap` only once, so the disk must have it from now on.
        self.save()

    def receive(self, datagram: bytes) -> None:
        """Handle a datagram. An invalid one changes nothing."""
        now = self.host.now()
        self.traffic.received += 1
        try:
            if (name := sealed_by(datagram)) and name not in self.membership.certificates:
                raise UnknownSenderError("the sender of a datagram is not a known member")
            sender, message = self.membership.opener.open(datagram, now)
        except DatagramError as error:
            self.traffic.refused[error.reason] += 1
            if isinstance(error, UnknownKeyError | UnknownSenderError):
                self._sync_on_unknown_key(now)
            return
        try:
            self.carry_out(self.node.receive(sender, message, now, self.host.wall()))
        except GossipError:
            # The message may have a capsule of an origin whose certificate is not here yet.
            self.traffic.refused["invalid message"] += 1
            self.sync_soon([sender])

    def due(self) -> float:
        """Do everything that is due, and return when to call this again at the latest."""
        now, wall = self.host.now(), self.host.wall()
        self.carry_out(self.node.due(now, wall))
        return self.node.next_at

    def kept(self, raws: Sequence[bytes]) -> None:
        """Enter that these capsules are on the disk, and acknowledge them."""
        self.carry_out(self.node.kept(raws, self.host.now()))

    def save(self) -> None:
        """Write to the disk who the members are, and whether this machine counts.

        This must come before this machine acts on either. It writes the certificates first: no
        machine can ask a member without a certificate, and the member would count for ever.
        """
        self.membership.certificates.flush()
        why = self.membership.certificates.trouble
        try:
            if self.node.freshness.counts and not self._membership_file.counts:
                # Otherwise this machine would count after a crash that loses capsules.
                self.log.sync()
            self._membership_file.save(self.node.freshness, is_complete=not self.log.incomplete)
        except OSError as error:
            why = describe(error)
        self.disk.note(f"{why}; a restart may forget members or evictions" if why else "")

    def upkeep(self) -> None:
        """Look after keys, members, this machine's address and expired files. Raises OSError.

        The transport calls this every second.
        """
        self.membership.upkeep(self.node)
        self._reassert_address()
        written = self.log.retry(self.host.wall())
        self.save()
        self.log.drop(self.host.wall())
        if written:
            self.unsynced += written
            self.on_work()

    def farewell(self) -> None:
        """Tell a few members that this member ends, and has not failed."""
        self._send_all(self.node.members.leave())

    def revoke(self, entries: Sequence[RevocationEntry]) -> list[bytes]:
        """Send revocations that are in force here to all members; return the capsules' ids.

        ValueError if this machine has not the right to revoke. Then it sends nothing: a member
        cannot verify such a capsule, and cannot compare any more with a member that has it.
        """
        effects, may_revoke = ProtocolOutput(), self.membership.may_revoke
        if may_revoke:
            effects = self.node.revoke(entries, self.host.now(), self.host.wall())
            effects.applied.clear()
        if self.membership.watch(self.node, entries):
            # An evicted member must not read any more.
            self.membership.rotate(self.node, voids=True)
        self.carry_out(effects)
        if not may_revoke:
            raise ValueError(
                f"no certificate of this machine has the right {MAY_REVOKE} at this time, so no "
                "other machine would apply its revocations; it sends them when it is restarted "
                "with such a certificate"
            )
        return [raw[: capsules.ID_BYTES] for raw in effects.kept]

    def drop(self, member: bytes) -> None:
        """Evict a member at once, without a majority: an operator takes the risk."""
        self.node.freshness.drop(member)
        if self.membership.evict(self.node, member, self.host.wall()):
            self.membership.rotate(self.node, voids=True)
        self.save()

    def take(self, raws: Sequence[bytes]) -> None:
        """Take the capsules that a member hands over. A GossipError means that none is taken."""
        self._is_handover = True
        try:
            effects = self.node.take(raws, self.host.now(), self.host.wall())
        finally:
            self._is_handover = False
        self.carry_out(effects)

    def renew(self, credential: SignedMemberRecord) -> None:
        """Show another certificate of this machine from now on. Raises GossipError."""
        known = self.membership.certificates.check(credential)
        if (
            known.id != self.membership.me.id
            or known.identity.key != self.membership.me.identity.key
        ):
            raise GossipError(f"{known.name} has another name or signing key")
        shown = credential.signed_by(self._sign, self.host.wall())
        self.membership.me = self.membership.certificates.admit(shown)
        self.save()

    def synced(self, member: bytes, hello: Hello, asked_at: float) -> None:
        """Enter that everything is here that a member had when it sent `hello`.

        Only now may this machine drop the members that the other one has dropped. Earlier, it would
        need a majority of fewer members, and lack what the other knows from the larger majority.
        """
        if hello.word.counts:
            self.node.drop_members(hello.members, self.host.now())
        self.node.anti_entropy.synced(member, hello.word, asked_at)
        self.save()

    def sync_soon(self, members: Iterable[bytes]) -> None:
        """Sync with each of these members over a stream, one after the other."""
        for member in members:
            if len(self.to_sync) < limits.gossip_members_max:
                self.to_sync.setdefault(member)
        self.on_work()

    def carry_out(self, effects: ProtocolOutput) -> None:
        """Do what the protocol asks for: first the log, then the table, then the messages."""
        # This machine acknowledges only the capsules that the log has taken.
        self.unsynced += self.log.append(effects.kept)
        if effects.applied:
            self.membership.watch(self.node, effects.applied)
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
        """State this machine's address again if another machine has signed another address.

        That machine runs with a copy of this machine's folder, and receives what is meant for this
        one. Even after its end, members would use its address until this machine restarts. Between
        two statements this machine waits, so that the two machines do not flood the network.
        """
        me, now = self.membership.me, self.host.now()
        shown = self.membership.certificates.get(me.id)
        if shown is None or shown.address == me.address or now < self._reassert_at:
            return
        self._reassert_at = now + limits.join_seconds_max
        host, port = to_where(shown.address)
        self.host.log(
            f"another machine has shown the certificate of this one, from {host} port {port}: stop "
            "that machine, and make a certificate of its own with `crewgate init --from`"
        )
        stated_at = min(max(self.host.wall(), shown.credential.told + 1), limits.time_seconds_max)
        credential = me.credential.signed_by(self._sign, stated_at)
        self.membership.me = self.membership.certificates.admit(credential)
        self.sync_soon(self.node.members.reachable)

    def _verify(self, capsule: Capsule, is_named: bool) -> bool:  # noqa: FBT001 -- as Crypto has it
        return self.membership.has_signed(capsule, is_named=is_named, is_handed=self._is_handover)

    def _send_all(self, messages: Iterable[tuple[bytes, bytes]]) -> None:
        for member, message in messages:
            known = self.node.members.get(member)
            if known is not None and self.membership.keys.number:
                self.traffic.sent += 1
                self._send(known.address, self._encryptor.seal(member, message))

    def _sync_on_unknown_key(self, now: float) -> None:
        """Sync with a random member, which may know the key or the sender that is unknown here.

        Anybody can send such datagrams, so one in `limits.strange_seconds` leads to a sync.
        """
        reachable = self.node.members.reachable
        if reachable and now >= self._unknown_sync_at:
            self._unknown_sync_at = now + limits.strange_seconds
            self.sync_soon([random.choice(reachable)])  # noqa: S311 -- no secret
