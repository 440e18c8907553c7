"""A handshake in memory: the server's side alone, by the CPU time of its steps.

No sockets and no loop, so that contexts differ in nothing but what is compared: a client without a
certificate, with one, and with one beside thousands that are revoked.
"""

import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

from cryptography.x509 import DNSName, IPAddress

from bench.sampling import Case, Group, measure
from crewgate.ca.authority import Authority, create, new_instance
from crewgate.ca.certificates import new_key
from crewgate.ca.crl import make_crl
from crewgate.ca.key_files import key_pem
from crewgate.config import CAConfig
from crewgate.core.x509.identity_extension import Identity, Role
from crewgate.server.tls import ClientCertificateTrust, server_context

PLAIN = "no client certificate"
SHOWN = "client certificate, none revoked"
MANY = "client certificate, 10,000 revoked"
REVOKED = 10_000
SERVED = "A handshake in memory, CPU of the server's side"
WHOLE = "A handshake in memory, CPU of both sides"
HANDSHAKES = 5  # of one batch: 5 ms


@dataclass
class Served(Case):
    """A case whose batch says how many nanoseconds of CPU one handshake took its server."""

    def sample(self) -> None:
        """Take one batch's figure."""
        self.lead()
        self.nanoseconds.append(self.batch())


def contexts(folder: Path) -> tuple[dict[str, ssl.SSLContext], ssl.SSLContext, ssl.SSLContext]:
    """The servers' contexts by case, a client's with a certificate and one without."""
    now = datetime.now(UTC)
    ca = CAConfig(folder / "ca", folder / "root.pem", folder / "crl.pem", "bench.example")
    ca.folder.mkdir(mode=0o700)
    create(ca, now)
    with Authority(ca) as authority:
        issuing, key = authority.issuing, new_key()
        identity = Identity(Role.ORCHESTRATOR, "bd-1", new_instance(), "bd")
        entry = authority.issue(identity, key.public_key(), now)
        (folder / "client.pem").write_bytes(authority.chain(entry))
        gateway, server = Identity(Role.GATEWAY, "edge-1", new_instance()), new_key()
        hosts = [DNSName("localhost"), IPAddress(ip_address("127.0.0.1"))]
        issued = authority.issue(gateway, server.public_key(), now, hosts=hosts)
        (folder / "server.pem").write_bytes(authority.chain(issued))
    for name, secret in (("client.key", key), ("server.key", server)):
        (folder / name).write_bytes(key_pem(secret))
    moment = int(now.timestamp())
    serials = (entry.serial[:-4] + f"{number:04X}" for number in range(REVOKED))
    dead = [(serial, moment, "keyCompromise") for serial in serials if serial != entry.serial]
    (folder / "many.pem").write_bytes(make_crl(issuing, dead, 9, now))
    files = folder / "server.pem", folder / "server.key"
    servers = {
        PLAIN: server_context(*files),
        SHOWN: server_context(*files, ClientCertificateTrust(ca.root, ca.crl, is_required=True)),
        MANY: server_context(
            *files, ClientCertificateTrust(ca.root, folder / "many.pem", is_required=True)
        ),
    }
    plain = ssl.create_default_context(cafile=str(ca.root))
    shown = ssl.create_default_context(cafile=str(ca.root))
    shown.load_cert_chain(folder / "client.pem", folder / "client.key")
    return servers, shown, plain


def handshake(serving: ssl.SSLContext, asking: ssl.SSLContext) -> int:
    """Shake hands in memory; nanoseconds of CPU that the server's steps took."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = asking.wrap_bio(down, up, server_hostname="localhost")
    begun = time.thread_time_ns()
    server = serving.wrap_bio(up, down, server_side=True)
    spent = time.thread_time_ns() - begun
    for _ in range(2):
        with suppress(ssl.SSLWantReadError):
            client.do_handshake()
        begun = time.thread_time_ns()
        with suppress(ssl.SSLWantReadError):
            server.do_handshake()
        spent += time.thread_time_ns() - begun
    if server.cipher() is None or server.version() != "TLSv1.3":
        raise SystemExit("bench: about to measure a handshake that does not succeed")
    return spent


def handshakes(folder: Path, rounds: int) -> list[Group]:
    """The server's side alone, and both sides; each ratio is to the row above."""
    servers, shown, plain = contexts(folder)

    def batch(name: str) -> Callable[[], int]:
        serving, asking = servers[name], plain if name == PLAIN else shown

        def run() -> int:
            return sum(handshake(serving, asking) for _ in range(HANDSHAKES)) // HANDSHAKES

        return run

    def whole(name: str) -> Callable[[], int]:
        run = batch(name)

        def timed() -> int:
            begun = time.thread_time_ns()
            run()
            return (time.thread_time_ns() - begun) // HANDSHAKES

        return timed

    references = {SHOWN: PLAIN, MANY: SHOWN}
    return [
        measure(title, [Served(name, make(name)) for name in servers], rounds, references)
        for title, make in ((SERVED, batch), (WHOLE, whole))
    ]
