"""Members of a cluster on loopback: real sockets, certificates of a CA of their own, no agents."""

import ssl
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from crewgate.ca.certificates import (
    CertificateAndKey,
    CertificateValidity,
    make_issuing,
    make_leaf,
    make_root,
    new_key,
    pem,
)
from crewgate.ca.key_files import key_pem
from crewgate.core.gossip.capsules import RevocationEntry
from crewgate.core.ids import cluster_id
from crewgate.core.x509.identity_extension import MAY_REVOKE, Identity, Role
from crewgate.gossip.member_verification import SignedMemberRecord
from crewgate.gossip.node import GossipNode, LocalMemberIdentity
from crewgate.gossip.sockets import GossipSockets, Where, to_address
from crewgate.gossip.transport import GossipTransport, TLSFiles

DOMAIN = "crewgate.test"
HOST = "127.0.0.1"
LIFE = 86_400


class Authority:
    """A root and an issuing CA in `folder`."""

    def __init__(self, folder: Path) -> None:
        now = datetime.now(UTC)
        self.root = make_root(now)
        self.issuing: CertificateAndKey = make_issuing(self.root, now)
        self.file = folder / "root.pem"
        self.file.write_bytes(pem(self.root.certificate))

    def certify(
        self,
        folder: Path,
        name: str,
        signing: Ed25519PrivateKey,
        *,
        rights: tuple[str, ...] = (MAY_REVOKE,),
        role: Role = Role.GATEWAY,
        born: float = 0.0,
        life: timedelta = timedelta(hours=4),
    ) -> TLSFiles:
        """Write a certificate and its key; issued so many seconds from now."""
        folder.mkdir(exist_ok=True)
        key = new_key()
        raw = signing.public_key().public_bytes_raw()
        crew = "bd" if role is Role.ORCHESTRATOR else ""
        identity = Identity(
            role, name, bytes(16), crew, b"" if crew else raw, () if crew else rights
        )
        until = self.issuing.certificate.not_valid_after_utc
        validity = CertificateValidity.of(
            datetime.now(UTC) + timedelta(seconds=born), life, until=until
        )
        leaf = make_leaf(self.issuing, key.public_key(), identity, DOMAIN, validity)
        files = TLSFiles(folder / "leaf.pem", folder / "leaf.key", self.file)
        files.certificate.write_bytes(pem(leaf) + pem(self.issuing.certificate))
        files.key.write_bytes(key_pem(key, None))
        return files


class Obeying:
    """A machine that does no more than remember what was revoked."""

    def __init__(self) -> None:
        self.applied: dict[bytes, RevocationEntry] = {}
        self.at: dict[bytes, float] = {}
        self.dead: set[bytes] = set()
        self.said: list[str] = []

    def apply(self, entries: Sequence[RevocationEntry], origins: Sequence[bytes]) -> None:
        assert len(entries) == len(origins)
        for entry in entries:
            self.applied.setdefault(entry.key, entry)
            self.at.setdefault(entry.key, time.monotonic())

    def is_dead(self, keys: Sequence[tuple[bytes, int]]) -> bool:
        return any(key in self.dead for key, _ in keys)

    def log(self, text: str) -> None:
        self.said.append(text)

    def now(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def wall(self) -> int:
        return int(time.time())


class Member:
    """One of them, in one life; its folder outlives it."""

    def __init__(
        self, authority: Authority, folder: Path, name: str, peers: Sequence[Where] = (), *,
        port: int = 0, bootstrap: bool = False, rights: tuple[str, ...] = (MAY_REVOKE,),
        born: float = 0.0,
    ) -> None:  # fmt: skip
        self.host = Obeying()
        self.signing = signing_of(folder)
        self.files = authority.certify(folder, name, self.signing, rights=rights, born=born)
        self.sockets = GossipSockets(HOST, port) if port else free_sockets()
        self.where: Where = (HOST, self.sockets.datagrams.getsockname()[1])
        address = to_address(*self.where)
        credential = SignedMemberRecord(
            chain_of(self.files.certificate), address.host, address.port
        )
        me = LocalMemberIdentity(
            credential, self.signing, authority.file, cluster_id(DOMAIN), folder / "gossip"
        )
        self.gossip = GossipNode(me, self.host, self.sockets.send, bootstrap=bootstrap)
        self.service = GossipTransport(self.gossip, self.sockets, self.files, peers)
        self.gossip.restore()

    @property
    def is_fresh(self) -> bool:
        return self.gossip.node.freshness.until(5.0) > self.host.now()

    @property
    def counts(self) -> bool:
        """Whether it is one of those who make up a majority."""
        return self.gossip.node.freshness.counts

    @property
    def others(self) -> int:
        """How many members it knows besides itself."""
        return len(self.gossip.node.freshness.others)

    def entry(self, key: bytes, *, kind: int = 1) -> RevocationEntry:
        """A revocation of this moment."""
        return RevocationEntry(kind, key, bytes(16), 2**33, self.host.wall() + LIFE)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Member"]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.service.run)
            try:
                yield self
            finally:
                nursery.cancel_scope.cancel()


def signing_of(folder: Path) -> Ed25519PrivateKey:
    """A member's key for what it says, which stays through all its lives."""
    path = folder / "signing.key"
    folder.mkdir(exist_ok=True)
    if not path.exists():
        path.write_bytes(Ed25519PrivateKey.generate().private_bytes_raw())
    return Ed25519PrivateKey.from_private_bytes(path.read_bytes())


def chain_of(certificate: Path) -> tuple[bytes, ...]:
    """The certificates of a PEM file, in DER."""
    end = "-----END CERTIFICATE-----"
    texts = certificate.read_text().split(end)[:-1]
    return tuple(ssl.PEM_cert_to_DER_cert(text.strip() + "\n" + end) for text in texts)


def free_sockets() -> GossipSockets:
    """Of a port that is free for both."""
    while True:
        sockets = GossipSockets(HOST, 0)
        port = sockets.streams.getsockname()[1]
        sockets.close()
        try:
            return GossipSockets(HOST, port)
        except OSError:
            continue


async def until(is_so: Callable[[], bool]) -> None:
    """Look again and again; only a hang crosses the bound."""
    with trio.fail_after(60):
        while not is_so():  # noqa: ASYNC110 -- what is looked at tells nobody
            await trio.sleep(0.005)
