"""A throw-away certificate, and a real listener on loopback, for tests of the edge."""

import datetime as dt
import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from crewgate._datapath.socket_poller import SocketPoller
from crewgate.runtime.listening import listen
from crewgate.server.connection import TakerFactory
from crewgate.server.exchange import ExchangeHandler
from crewgate.server.listener import Listener
from crewgate.server.tls import server_context


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """Write a self-signed certificate for localhost and 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    names: list[x509.GeneralName] = [
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    ]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "server.pem", folder / "server.key"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate_file, key_file


class Edge:
    """A running listener, and how a client reaches and trusts it."""

    def __init__(self, listener: Listener, certificate: Path) -> None:
        self.listener = listener
        self.certificate = certificate
        self.host, self.port = listener.address
        self.url = f"https://{self.host}:{self.port}"

    @property
    def refusals(self) -> dict[str, int]:
        """What the listener has counted, without what went well."""
        counts = self.listener.counters.counts
        well = {"connections_accepted", "handshakes_completed"}
        return {name: count for name, count in counts.items() if name not in well}

    def client(self, **options: Any) -> httpx.AsyncClient:
        """A stock client; a busy machine is waited for."""
        return httpx.AsyncClient(
            **{"base_url": self.url, "verify": self.client_context(), "timeout": 60, **options}
        )

    def client_context(self, *protocols: str) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.certificate))
        if protocols:
            context.set_alpn_protocols(list(protocols))
        return context

    async def connect(self, *protocols: str) -> trio.SSLStream[trio.SocketStream]:
        """Open a TLS connection and shake hands."""
        stream = await trio.open_tcp_stream(self.host, self.port)
        secure = trio.SSLStream(
            stream,
            self.client_context(*protocols),
            server_hostname=self.host,
            https_compatible=True,
        )
        await secure.do_handshake()
        return secure


@asynccontextmanager
async def running_edge(
    application: ExchangeHandler,
    folder: Path,
    poller: SocketPoller | None = None,
    straight: TakerFactory | None = None,
) -> AsyncIterator[Edge]:
    """Serve `application` on a free port of loopback while the block runs, in `poller`'s turns."""
    certificate, key = write_certificate(folder)
    poller = poller or SocketPoller()
    context = server_context(certificate, key)
    listener = Listener(listen("127.0.0.1", 0), context, application, poller, straight=straight)
    edge = Edge(listener, certificate)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(poller.run)
        await nursery.start(listener.run)
        yield edge
        nursery.cancel_scope.cancel()
    poller.close()


async def read_until(stream: trio.abc.ReceiveStream, needle: bytes) -> bytes:
    """Read until `needle` has come, or the end."""
    data = b""
    while needle not in data:
        piece = await stream.receive_some()
        if not piece:
            return data
        data += piece
    return data


async def read_all(stream: trio.abc.ReceiveStream) -> bytes:
    """Read to the end; a connection that was cut ends there."""
    data = b""
    try:
        while piece := await stream.receive_some():
            data += piece
    except trio.BrokenResourceError:
        pass
    return data
