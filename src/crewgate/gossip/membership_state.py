"""Who the members are, and what keys the group has: what is said, and believed, over streams.

Whoever shows the certificate of a gateway of this CA is a member, until it is evicted. Every
method is one plain step.
"""

from collections.abc import Callable, Iterable, Sequence

from crewgate import limits
from crewgate.core.gossip.capsules import Capsule, RevocationEntry
from crewgate.core.gossip.protocol import ProtocolNode
from crewgate.core.ids import KeyKind, orchestrator_key
from crewgate.core.x509 import certificate as certificate_
from crewgate.core.x509.identity import MAY_REVOKE, Role, member_id
from crewgate.errors import GossipError
from crewgate.gossip.datagram_crypto import Decryptor, KeySet
from crewgate.gossip.delegate import GossipDelegate
from crewgate.gossip.directory import MemberDirectory
from crewgate.gossip.keyring import Keyring
from crewgate.gossip.member_certificates import KnownMember, MemberCredential
from crewgate.gossip.stream import VERSION, Hello


class SelfConnectionError(GossipError):
    """The other side of a stream is this machine."""


class EvictedError(GossipError):
    """The other side was a member, and was evicted."""


class MembershipState:
    """The members, as one of them (`me`) knows them; `sync_soon` has streams to some opened."""

    def __init__(
        self,
        me: KnownMember,
        directory: MemberDirectory,
        host: GossipDelegate,
        cluster: bytes,
        sync_soon: Callable[[Iterable[bytes]], None],
    ) -> None:
        self.me = me
        self.directory = directory
        self.keys = KeySet()
        self.keyring = Keyring(self.keys)
        self.opener = Decryptor(me.id, self.keys)
        self._host = host
        self._cluster = cluster
        self._sync_soon = sync_soon
        self._labels: dict[bytes, bytes] = {}  # members by the key that ends them

    def __repr__(self) -> str:
        return f"<MembershipState {self.directory!r} {self.keyring!r}>"

    @property
    def is_evicted(self) -> bool:
        """Whether this machine was evicted, and shows no certificate that was issued since."""
        return self.me.id not in self.directory

    @property
    def may_revoke(self) -> bool:
        """Whether others obey what this machine signs now."""
        return self.directory.may_sign(self.me, self._host.wall())

    @property
    def rejoin_instructions(self) -> str:
        """What an evicted machine takes to be a member again."""
        days = limits.gateway_life_seconds_max // 86_400
        return (
            "a new certificate in the place of [cluster] certificate and key: `crewgate ca issue "
            f"--role gateway --name {self.me.name} --signing-key FILE --right revoke "
            f"--life {days}d --out PREFIX` where the CA is"
        )

    def hello(self, node: ProtocolNode) -> Hello:
        """What we say first."""
        return Hello(
            VERSION,
            self._cluster,
            self.me.credential,
            node.anti_entropy.summary(self._host.wall()),
            self.directory.roll(),
            self.directory.gone,
            [self.me.id, *node.freshness.others],
            list(node.freshness.counted),
            list(self.keyring),
        )

    def recognise(self, leaf: bytes) -> bytes:
        """Which member is behind a leaf that a handshake has proved; GossipError.

        The CA has others' certificates too, and that of an evicted one (EvictedError) still serves.
        """
        try:
            found = certificate_.read(leaf)
            identity = found.speaks_for()
        except ValueError as error:
            raise GossipError(f"a certificate of no gateway: {error}") from error
        if leaf == self.me.credential.chain[0]:
            raise SelfConnectionError("this machine")
        if identity.role is not Role.GATEWAY:
            raise GossipError(f"{identity.label} is no gateway")
        member = member_id(identity.name)
        if found.issued <= self.directory.gone.get(member, -1):
            raise EvictedError(f"gateway {identity.name} was evicted")
        keys = certificate_.revocable_by(identity, found.serial, found.issued)
        if self._host.is_dead(keys):
            raise GossipError(f"gateway {identity.name}: its certificate is revoked")
        return member

    def add_member(self, leaf: bytes, hello: Hello) -> KnownMember:
        """Who has said hello, by the certificate of its handshake; GossipError.

        Of two who meet without any key, one makes it.
        """
        known = self._known(leaf, hello)
        if known.issued <= self.directory.gone.get(known.id, -1):  # its newest may be another's
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
        """Whose leaf this is says that we were evicted: nothing is believed that it may not do.

        It could have sent us away itself, if it may revoke. It means the certificate that was
        `shown`: another may have come to our rescue meanwhile.
        """
        if MAY_REVOKE in certificate_.read(leaf).speaks_for().rights:
            self.evict(node, shown.id, shown.issued)

    def introduce(self, credentials: Iterable[MemberCredential]) -> None:
        """Gateways that a member knows; GossipError, and those before were taken."""
        try:
            for credential in credentials:
                self.directory.admit(credential)
        finally:
            self.directory.flush()

    def merge(self, node: ProtocolNode, known: KnownMember, hello: Hello) -> None:
        """What another thinks of who is a member, of all whose certificates have been seen here.

        A made-up one would count among those whose majority nobody can ask.
        """
        for member, before in hello.gone.items() if known.may_revoke else ():
            if self.directory.get(member) is not None:
                self.evict(node, member, before)
        if known.id not in self.directory:
            raise GossipError(f"gateway {known.name} was evicted")
        self.add_members(node)
        node.members.join(known.id, known.address, self._host.now())
        members = [each for each in hello.members if each in self.directory]
        node.merge_views(members, hello.counted, self._host.now())

    def add_members(self, node: ProtocolNode) -> None:
        """Have the protocol know all members."""
        members = list(self.directory)
        self._labels = {orchestrator_key("", each.identity.label): each.id for each in members}
        node.add_members([(each.id, each.address) for each in members], self._host.now())

    def watch(self, node: ProtocolNode, entries: Sequence[RevocationEntry]) -> bool:
        """Revocations that may be of members; whether one is a member no more."""
        evicted = False
        for entry in entries:
            member = self._labels.get(entry.key) if entry.kind == KeyKind.ORCHESTRATOR else None
            if member is not None:
                before = entry.before - limits.leeway_seconds
                evicted = self.evict(node, member, before) or evicted
        return evicted

    def evict(self, node: ProtocolNode, member: bytes, before: int) -> bool:
        """No certificate issued until then is a member's; whether it was one."""
        if not self.directory.evict(member, before) or member in self.directory:
            return False
        if member == self.me.id:
            self._host.log(
                f"this machine was evicted; to come back it takes {self.rejoin_instructions}"
            )
            return True
        self._host.log(f"gateway {self.directory.name(member)} is no member any more")
        node.evict(member, self._host.now())
        self.opener.forget(member)
        return True

    def resume_evictions(self, node: ProtocolNode) -> None:
        """After a start, wait again for a majority to agree on evictions from before it.

        Otherwise this machine would count those members for ever.
        """
        for member in node.freshness.others:
            if member in self.directory.gone and member not in self.directory:
                node.evict(member, self._host.now())

    def upkeep(self, node: ProtocolNode) -> None:
        """Whether it is time for another key, and this member's turn to make it."""
        self.add_members(node)  # one who could not be admitted before may be now
        wall = self._host.wall()
        self.keyring.choose(wall)
        if self.keyring.is_due(wall, self._rank(node)):
            self.rotate(node)

    def next_key_at(self, node: ProtocolNode) -> int:
        """When this member makes another key if nobody does before; there is one."""
        return self.keyring.due_at(self._rank(node))

    def _rank(self, node: ProtocolNode) -> int:
        return sorted([self.me.id, *node.freshness.others]).index(self.me.id)

    def rotate(self, node: ProtocolNode, *, voids: bool = False) -> None:
        """Make another key, and tell all; one that `voids` ends those before it at once."""
        self.keyring.make(self._host.wall(), voids=voids)
        self._sync_soon(node.members.reachable)

    def has_signed(self, capsule: Capsule, *, is_named: bool, is_handed: bool) -> bool:
        """Whether a capsule is good: by a certificate of its time.

        Where that is revoked by now, it is one if a member had it before, and hands it over.
        """
        signer = self.directory.signer(capsule, is_named=is_named)
        return signer is not None and (is_handed or not self._host.is_dead(signer.revocable_by()))

    def _known(self, leaf: bytes, hello: Hello) -> KnownMember:
        if hello.version != VERSION or hello.cluster != self._cluster:
            raise GossipError("a gateway of another version or trust domain")
        if hello.credential.chain[:1] != (leaf,):
            raise GossipError("a gateway that shows two certificates")
        known = self.directory.admit(hello.credential)
        if self._host.is_dead(known.revocable_by()):
            raise GossipError(f"gateway {known.name}: its certificate is revoked")
        if known.id == self.me.id:
            raise GossipError(f"another machine is called {known.name} too")
        return known
