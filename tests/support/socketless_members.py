"""Members without sockets, tasks or time: what one sends is kept, and clocks are set by hand."""

import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from gossip_members import HOST, LIFE, Authority, Obeying, chain_of

from crewgate.core.gossip.capsules import RevocationEntry
from crewgate.core.gossip.messages import MemberAddress
from crewgate.core.ids import cluster_id
from crewgate.core.x509.identity_extension import MAY_REVOKE, member_id
from crewgate.gossip.member_verification import KnownMember, SignedMemberRecord
from crewgate.gossip.node import GossipNode, LocalMemberIdentity
from crewgate.gossip.sockets import to_address

DOMAIN = "crewgate.test"


class Still(Obeying):
    """A machine whose clocks stand still."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = 1000.0
        self.time = int(time.time()) + 5  # after all certificates of a test were issued

    def now(self) -> float:
        return self.clock

    def wall(self) -> int:
        return self.time

    def sleep(self, seconds: float) -> None:
        """Let so much pass."""
        self.clock += seconds
        self.time += int(seconds)


class StillMember:
    """One of them, in one life; its folder outlives it."""

    def __init__(
        self, authority: Authority, folder: Path, name: str, *, port: int = 8446,
        bootstrap: bool = False, rights: tuple[str, ...] = (MAY_REVOKE,), born: float = 0.0,
        signing: Ed25519PrivateKey | None = None,
    ) -> None:  # fmt: skip
        self.host = Still()
        self.sent: list[tuple[MemberAddress, bytes]] = []
        self.signing = signing or Ed25519PrivateKey.generate()
        self.files = authority.certify(folder, name, self.signing, rights=rights, born=born)
        address = to_address(HOST, port)
        shown = SignedMemberRecord(chain_of(self.files.certificate), address.host, address.port)
        me = LocalMemberIdentity(
            shown, self.signing, authority.file, cluster_id(DOMAIN), folder / "gossip"
        )
        self.gossip = GossipNode(me, self.host, self._send, bootstrap=bootstrap)
        self.membership = self.gossip.membership
        self.node = self.gossip.node
        self.gossip.restore()

    @property
    def id(self) -> bytes:
        return self.membership.me.id

    @property
    def leaf(self) -> bytes:
        return self.membership.me.credential.chain[0]

    @property
    def others(self) -> set[bytes]:
        """Whom it takes for members, besides itself."""
        return set(self.node.freshness.others)

    def hears(self, other: "StillMember") -> KnownMember:
        """What a conversation with another would tell it, capsules aside."""
        self.membership.recognize(other.leaf)
        hello = other.membership.hello(other.node)
        known = self.membership.add_member(other.leaf, hello)
        self.membership.introduce(other.membership.certificates.beyond(hello.roll[:0]))
        self.membership.merge(self.node, known, hello)
        return known

    def entry(self, key: bytes, *, kind: int = 1, before: int = 2**33) -> RevocationEntry:
        """A revocation of this moment."""
        return RevocationEntry(kind, key, bytes(16), before, self.host.wall() + LIFE)

    def outbox(self) -> list[bytes]:
        """What was sent since, and no more."""
        sent, self.sent = self.sent, []
        return [data for _, data in sent]

    def _send(self, to: MemberAddress, data: bytes) -> None:
        self.sent.append((to, data))


def acquaint(*members: StillMember) -> None:
    """Everybody has spoken with everybody, and all have the same keys."""
    for _ in range(3):
        for one in members:
            for other in members:
                if one is not other:
                    one.hears(other)


def company_of(authority: Authority, folder: Path, count: int) -> list[StillMember]:
    """So many who know one another and count."""
    members = [
        StillMember(authority, folder / f"m{n}", f"m{n}", port=8446 + n, bootstrap=True)
        for n in range(count)
    ]
    acquaint(*members)
    return members


def id_of(name: str) -> bytes:
    """The member of that name."""
    return member_id(name)
