"""An agent that is a member, on clocks that a test moves, and others who exist on paper alone."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent_world import Hands, S, Start
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from gossip_members import DOMAIN, HOST, Authority, TLSFiles, chain_of, free_sockets

from crewgate.agent.cluster.cluster import Cluster
from crewgate.ca.member_signing_key import read_signing_key, write_signing_key
from crewgate.config import CAConfig
from crewgate.config import ClusterConfig as Settings
from crewgate.core.x509.identity_extension import MAY_REVOKE
from crewgate.gossip.member_verification import KnownMember, SignedMemberRecord
from crewgate.gossip.sockets import to_address

ME = "here-1"


class Clustered:
    """The machine, its cluster, and a CA that makes further members."""

    def __init__(self, start: Start, hands: Hands, folder: Path, rights: tuple[str, ...]) -> None:
        # Certificates are of now, and the machine believes the time at which it starts.
        hands.wall, hands.boot = time.time_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self.hands = hands
        self.machine = start()
        folder.mkdir()
        self._folder = folder
        self._authority = Authority(folder)
        write_signing_key(folder / "signing.key")
        self.signing = read_signing_key(folder / "signing.key")
        files = self._certify(ME, self.signing, rights=rights)
        sockets = free_sockets()
        port = sockets.streams.getsockname()[1]
        sockets.close()
        self.settings = Settings(
            HOST, port, files.certificate, files.key, folder / "signing.key",
            peers=(), max_staleness_seconds=5.0,
        )  # fmt: skip
        self._ca = CAConfig(folder, self._authority.file, folder / "crl.pem", DOMAIN)
        self.cluster: Cluster

    @contextmanager
    def begun(self, *, bootstrap: bool) -> Iterator["Clustered"]:
        self.cluster = Cluster(self.machine, self.settings, self._ca, bootstrap=bootstrap)
        self.cluster.restore()
        self.machine.fanout.others = self.cluster
        try:
            yield self
        finally:
            self.cluster._sockets.close()
            self.cluster.gossip.log.close()

    def renewed(
        self, name: str = ME, signing: Ed25519PrivateKey | None = None, *, born: float = 0.0
    ) -> None:
        """Another certificate in the place of ours, issued so many seconds from now."""
        self._authority.certify(self._folder / ME, name, signing or self.signing, born=born)

    def _certify(
        self, name: str, signing: Ed25519PrivateKey, *, rights: tuple[str, ...]
    ) -> TLSFiles:
        """Issued by the machine's clock, which a test has in hand."""
        born = self.hands.wall / S - time.time()
        return self._authority.certify(self._folder / name, name, signing, rights=rights, born=born)

    def other(
        self, name: str, *, counts: bool = True, rights: tuple[str, ...] = (MAY_REVOKE,)
    ) -> KnownMember:
        """A member who has shown its certificate, and with `counts` was compared with just now."""
        signing = Ed25519PrivateKey.generate()
        files = self._certify(name, signing, rights=rights)
        port = 7000 + len(list(self._folder.iterdir()))
        address = to_address(HOST, port)
        membership, node = self.cluster.gossip.membership, self.cluster.gossip.node
        shown = SignedMemberRecord(chain_of(files.certificate), address.host, address.port)
        known = membership.certificates.admit(shown.signed_by(signing.sign, self.cluster.wall()))
        membership.add_members(node)
        if counts:
            self.compare(known)
        return known

    def compare(self, *members: KnownMember) -> None:
        """All that they know is here, as of now."""
        for each in members:
            self.cluster.gossip.node.freshness.compared(each.id, self.hands.boot / S)
