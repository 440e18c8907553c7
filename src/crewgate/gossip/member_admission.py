"""Knows the members and the group keys, and decides what to believe of another member's hello.

A machine that shows a gateway certificate of this CA is a member until it is evicted. No method
waits for the network.
"""

from collections.abc import Callable, Iterable, Sequence

from crewgate import limits
from crewgate.core.gossip.capsules import Capsule, RevocationEntry
from crewgate.core.gossip.protocol import ProtocolNode
from crewgate.core.ids import EntityKind, orchestrator_key
from crewgate.core.x509 import certificate as certificate_
from crewgate.core.x509.identity_extension import MAY_REVOKE, Role, member_id
from crewgate.errors import GossipError
from crewgate.gossip.datagram_crypto import Decryptor, KeySet
from crewgate.gossip.delegate import GossipDelegate
from crewgate.gossip.keyring import Keyring
from crewgate.gossip.member_certificate_store import MemberCertificateStore
from crewgate.gossip.member_verification import KnownMember, SignedMemberRecord
from crewgate.gossip.stream import VERSION, Hello


class SelfConnectionError(GossipError):
    """The other side of a stream is this machine."""


class PeerEvictedError(GossipError):
    """The other side of a stream was a member, and is evicted."""


class MemberAdmission:
    """The members, as the member `me` knows them. `sync_soon` starts syncs with members."""

    def __init__(
        self,
        me: KnownMember,
        certificates: MemberCertificateStore,
        host: GossipDelegate,
        cluster: bytes,
        sync_soon: Callable[[Iterable[bytes]], None],
    ) -> None:
        self.me = me
        self.certificates = certificates
        self.keys = KeySet()
        self.keyring = Keyring(self.keys)
        self.opener = Decryptor(me.id, self.keys)
        self._host = host
        self._cluster = cluster
        self._sync_soon = sync_soon
        self._labels: dict[bytes, bytes] = {}  # members by the key of a revocation that evicts them

    @property
    def is_evicted(self) -> bool:
        """Whether this machine is evicted, and has no certificate that was issued since."""
        return self.me.id not in self.certificates

    @property
    def may_revoke(self) -> bool:
        """Whether other members apply a revocation that this machine signs now."""
        return self.certificates.may_sign(self.me, self._host.wall())

    @property
    def rejoin_instructions(self) -> str:
        """What an evicted machine needs to be a member again, as the end of a sentence."""
        days = limits.gateway_life_seconds_max // 86_400
        return (
            "a new certificate in place of [cluster] certificate and key: run `crewgate ca issue "
            f"--role gateway --name {self.me.name} --signing-key FILE --right revoke "
            f"--life {days}d --out PREFIX` on the machine that has the CA"
        )

    def hello(self, node: ProtocolNode) -> Hello:
        """Return the first message of this machine on a stream."""
        return Hello(
            VERSION,
            self._cluster,
            self.me.credential,
            node.anti_entropy.summary(self._host.wall()),
            self.certificates.roll(),
            self.certificates.gone,
            [self.me.id, *node.freshness.others],
            list(node.freshness.counted),
            list(self.keyring),
        )

    def recognize(self, leaf: bytes) -> bytes:
        """Return the member whose leaf certificate a handshake has proved. Raises GossipError.

        The CA also issues certificates for other roles, and that of an evicted gateway
        (PeerEvictedError) still passes the handshake.
        """
        try:
            found = certificate_.read(leaf, self.certificates.oids)
            identity = found.speaks_for()
        except ValueError as error:
            raise GossipError(f"not a gateway certificate: {error}") from error
        if leaf == self.me.credential.chain[0]:
            raise SelfConnectionError("the other side is this machine")
        if identity.role is not Role.GATEWAY:
            raise GossipError(f"{identity.label} is not a gateway")
        member = member_id(identity.name)
        if found.issued <= self.certificates.gone.get(member, -1):
            raise PeerEvictedError(f"gateway {identity.name} was evicted")
        keys = certificate_.revocable_by(identity, found.serial, found.issued)
        if self._host.is_dead(keys):
            raise GossipError(f"gateway {identity.name}: its certificate is revoked")
        return member

    def add_member(self, leaf: bytes, hello: Hello) -> KnownMember:
        """Return the member that sent `hello`, by the leaf of its handshake. Raises GossipError.

        Takes its group keys. If neither side has a key, the one with the lower id makes one.
        """
        known = self._check_hello(leaf, hello)
        # The newest certificate of this name may be one of another machine.
        if known.issued <= self.certificates.gone.get(known.id, -1):
            raise GossipError(f"gateway {known.name} was evicted")
        try:
            self.keyring.merge(hello.keys, self._host.wall(), may_void=known.may_revoke)
        except ValueError as error:
            raise GossipError(str(error)) from error
        if not self.keys.number and self.me.id < known.id:
            self.keyring.make(self._host.wall())
            self._sync_soon([known.id])
        return known

    def dismissed(self, node: ProtocolNode, leaf: bytes, shown: KnownMember) -> None:
        """Handle the notice of a member that this machine is evicted; `leaf` is its certificate.

        Only a member with the right to revoke is believed, since it can evict this machine itself.
        The notice is about the certificate that this machine has `shown`. If this machine has a
        newer certificate by now, it stays a member.
        """
        identity = certificate_.read(leaf, self.certificates.oids).speaks_for()
        if MAY_REVOKE in identity.rights:
            self.evict(node, shown.id, shown.issued)

    def introduce(self, credentials: Iterable[SignedMemberRecord]) -> None:
        """Take the certificates that a member passes on, up to the first that is not valid.

        Raises GossipError for this one.
        """
        try:
            for credential in credentials:
                self.certificates.admit(credential)
        finally:
            self.certificates.flush()

    def merge(self, node: ProtocolNode, known: KnownMember, hello: Hello) -> None:
        """Merge the view of another member, as far as the certificates of its members are here.

        A made-up member would count for majorities, and no machine could ask it.
        """
        for member, before in hello.gone.items() if known.may_revoke else ():
            if self.certificates.get(member) is not None:
                self.evict(node, member, before)
        if known.id not in self.certificates:
            raise GossipError(f"gateway {known.name} was evicted")
        self.add_members(node)
        node.members.join(known.id, known.address, self._host.now())
        members = [each for each in hello.members if each in self.certificates]
        node.merge_views(members, hello.counted, self._host.now())

    def add_members(self, node: ProtocolNode) -> None:
        """Add all members to the protocol."""
        members = list(self.certificates)
        self._labels = {orchestrator_key("", each.identity.label): each.id for each in members}
        node.add_members([(each.id, each.address) for each in members], self._host.now())

    def watch(self, node: ProtocolNode, entries: Sequence[RevocationEntry]) -> bool:
        """Evict the members that these revocations are about; return whether there were any."""
        has_evicted = False
        for entry in entries:
            member = self._labels.get(entry.key) if entry.kind == EntityKind.ORCHESTRATOR else None
            if member is not None:
                before = entry.before - limits.leeway_seconds
                has_evicted = self.evict(node, member, before) or has_evicted
        return has_evicted

    def evict(self, node: ProtocolNode, member: bytes, before: int) -> bool:
        """Evict a machine: a certificate issued at or before `before` no longer makes it a member.

        Return whether it was a member.
        """
        if not self.certificates.evict(member, before) or member in self.certificates:
            return False
        if member == self.me.id:
            self._host.log(
                f"this machine was evicted; to rejoin, it needs {self.rejoin_instructions}"
            )
            return True
        self._host.log(f"gateway {self.certificates.name(member)} was evicted")
        node.evict(member, self._host.now())
        self.opener.forget(member)
        return True

    def resume_evictions(self, node: ProtocolNode) -> None:
        """After a start, wait again for a majority to agree on the evictions from before.

        Otherwise this machine would count those members for ever.
        """
        for member in node.freshness.others:
            if member in self.certificates.gone and member not in self.certificates:
                node.evict(member, self._host.now())

    def upkeep(self, node: ProtocolNode) -> None:
        """Make the next group key if this member must do it now; admit members that wait."""
        self.add_members(node)
        wall = self._host.wall()
        self.keyring.choose(wall)
        if self.keyring.is_due(wall, self._rank(node)):
            self.rotate(node)

    def next_key_at(self, node: ProtocolNode) -> int:
        """Return when this member makes the next key if no other does; there must be a key."""
        return self.keyring.due_at(self._rank(node))

    def _rank(self, node: ProtocolNode) -> int:
        return sorted([self.me.id, *node.freshness.others]).index(self.me.id)

    def rotate(self, node: ProtocolNode, *, voids: bool = False) -> None:
        """Make a key and sync with all reachable members; a key that `voids` ends older ones."""
        self.keyring.make(self._host.wall(), voids=voids)
        self._sync_soon(node.members.reachable)

    def has_signed(self, capsule: Capsule, *, is_named: bool, is_handed: bool) -> bool:
        """Return whether a capsule is good, by a certificate from when it was signed.

        If this certificate is revoked by now, the capsule is good only if a member hands it over
        (`is_handed`), because that member had accepted it before.
        """
        signer = self.certificates.signer(capsule, is_named=is_named)
        return signer is not None and (is_handed or not self._host.is_dead(signer.revocable_by()))

    def _check_hello(self, leaf: bytes, hello: Hello) -> KnownMember:
        if hello.version != VERSION or hello.cluster != self._cluster:
            raise GossipError("the gateway has another protocol version or trust domain")
        if hello.credential.chain[:1] != (leaf,):
            raise GossipError("the gateway shows two certificates, in its handshake and its hello")
        known = self.certificates.admit(hello.credential)
        if self._host.is_dead(known.revocable_by()):
            raise GossipError(f"gateway {known.name}: its certificate is revoked")
        if known.id == self.me.id:
            raise GossipError(f"another machine is called {known.name}, like this one")
        return known
