"""A gateway with three crews and listeners that ask for certificates, and clients that knock."""

import base64
import json
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import forged_certificates
import httpx
from authority import Files
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from installation import Installation

from crewgate.ca.authority import Authority, new_instance
from crewgate.ca.certificate_db import CertificateRecord
from crewgate.ca.certificates import new_key
from crewgate.ca.key_files import key_pem
from crewgate.config import CAConfig, load
from crewgate.core.x509.identity_extension import Identity
from crewgate.issuer import Orchestrator

CREWS = ("bd", "finance")
REQUEST = (
    "POST /search HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n"
    "content-length: 2\r\nconnection: close\r\n\r\n{{}}"
)
CREW = """
[crew.{crew}]
issuer = "https://orchestrator.crewgate.example"
jwks = "crews/{crew}.jwks.json"
signing_key = "crews/{crew}/signing.key"
tools = ["search.*", "embeddings.*", "publish.*", "reports.*"]
"""
# The first listener that init writes for crews admits everybody; these do not.
LISTENER = """
[[listener]]
name = "{name}"
address = "127.0.0.1"
port = {port}
certificate = "certs/gateway.pem"
key = "gateway/gateway.key"
client_certificate = "{mode}"
crews = {crews}
"""
REPORTS = """
[tool."reports.read"]
method = "POST"
path = "/reports"
upstream = "tools"
price = "0.01"
owner = "finance"
"""


class Leaf(NamedTuple):
    """A certificate that the CA issued, and its files."""

    entry: CertificateRecord
    files: Files


class Knock(NamedTuple):
    """What a client saw: the bytes of an answer, and the alert or other end, in OpenSSL's words."""

    answer: bytes
    alert: str

    @property
    def status(self) -> int:
        """The status of the answer; 0 if there was none."""
        return int(self.answer.split(b" ", 2)[1]) if self.answer else 0


class Boundary(Installation):
    """`crews` (port + 1) admits all, `some` (+ 5) bd and article, `either` (+ 6) asks all."""

    def __init__(self, folder: Path, **options: Any) -> None:
        super().__init__(folder, **options)
        text = self.file.read_text()
        for number, (name, mode, crews) in enumerate(
            (
                ("some", "required", '["bd", "article"]'),
                ("either", "optional", '["bd", "finance", "article"]'),
            ),
            5,
        ):
            text += LISTENER.format(name=name, port=self.port + number, mode=mode, crews=crews)
        for crew in CREWS:
            _write_crew(self.folder, crew)
            text += CREW.format(crew=crew)
        self.file.write_text(text + REPORTS)
        self.config = load(self.file)
        assert self.config.ca is not None
        self.ca: CAConfig = self.config.ca
        self.root = self.folder / "certs" / "ca.pem"

    def issue(self, identity: Identity, **options: Any) -> Leaf:
        """A certificate as `crewgate ca issue` would sign it, of a new instance."""
        key = new_key()
        own = Identity(identity.role, identity.name, new_instance(), identity.crew)
        with Authority(self.ca) as authority:
            entry = authority.issue(own, key.public_key(), datetime.now(UTC), **options)
            chain = authority.chain(entry)
        files = Files(self.folder / f"{entry.serial}.pem", self.folder / f"{entry.serial}.key")
        files.certificate.write_bytes(chain)
        files.key.write_bytes(key_pem(key))
        files.key.chmod(0o600)
        return Leaf(entry, files)

    def forged(self, **options: Any) -> Files:
        """A certificate that the issuing CA's key has signed and the CA never would."""
        issuing = forged_certificates.issuing_of(self.ca)
        return forged_certificates.write(
            self.folder, forged_certificates.leaf(issuing, **options), issuing
        )

    def token(self, crew: str = "article", tools: str = "search.*") -> str:
        """A new root of the crew."""
        return self.run(
            "mint", "--crew", crew, "--role", "r", "--tools", tools, "--credits", "100"
        ).strip()

    def context(self, files: Files | None = None) -> ssl.SSLContext:
        """Of a client that trusts the gateway."""
        context = ssl.create_default_context(cafile=str(self.root))
        if files is not None:
            context.load_cert_chain(files.certificate, files.key)
        return context

    def knock(
        self,
        files: Files | None,
        offset: int,
        request: str,
        *,
        context: ssl.SSLContext | None = None,
        session: ssl.SSLSession | None = None,
    ) -> Knock:
        """Shake hands with Python's ssl, say the request at once, and read to the end."""
        context = context or self.context(files)
        answer = b""
        try:
            with (
                socket.create_connection(("127.0.0.1", self.port + offset), 20) as plain,
                context.wrap_socket(plain, server_hostname="localhost", session=session) as secure,
            ):
                secure.sendall(request.encode())
                while data := secure.recv(65536):
                    answer += data
        except ssl.SSLError as error:
            return Knock(answer, error.reason or str(error))
        except OSError as error:
            return Knock(answer, type(error).__name__)
        return Knock(answer, "closed")

    def s_client(self, files: Files | None, offset: int, request: str, *more: str) -> str:
        """What `openssl s_client` prints of the same."""
        shown = ["-cert", files.certificate, "-cert_chain", files.certificate] if files else []
        key = ["-key", files.key] if files else []
        done = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{self.port + offset}", "-tls1_3",
             "-servername", "localhost", "-CAfile", self.root, "-verify_return_error",
             "-ign_eof", *shown, *key, *more],
            input=request, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        return done.stdout + done.stderr

    def http(self, files: Files | None, offset: int, *, http2: bool = True) -> httpx.Client:
        """A stock client."""
        return httpx.Client(
            verify=self.context(files),
            http2=http2,
            base_url=f"https://127.0.0.1:{self.port + offset}",
            timeout=30,
            trust_env=False,
        )

    def connections(self, start: int = 0) -> list[dict[str, Any]]:
        """The audit's records of connections, from the one of that number on."""
        found = [record for record in self.records() if record["kind"] == "connection"]
        return sorted(found, key=lambda record: record["time"])[start:]

    def calls(self) -> int:
        """How many calls the audit knows."""
        return sum(record["kind"] == "call" for record in self.records())

    def next_connection(self, seen: int) -> dict[str, Any]:
        """The record that comes after so many."""
        until = time.monotonic() + 20
        while len(found := self.connections()) <= seen:
            assert time.monotonic() < until, "no record came"
            time.sleep(0.01)
        return found[seen]

    def say(self, crew: str = "article") -> str:
        """A good request for a tool of everybody's."""
        return REQUEST.format(token=self.token(crew))


def _write_crew(folder: Path, crew: str) -> None:
    key = Ed25519PrivateKey.generate()
    (folder / "crews" / crew).mkdir(mode=0o700)
    private = folder / "crews" / crew / "signing.key"
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    private.chmod(0o600)
    public = key.public_key().public_bytes_raw()
    x = base64.urlsafe_b64encode(public).rstrip(b"=").decode()
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": f"{crew}-k", "alg": "EdDSA", "use": "sig"}
    (folder / "crews" / f"{crew}.jwks.json").write_text(json.dumps({"keys": [jwk]}))


def orchestrator(boundary: Boundary, crew: str) -> Orchestrator:
    """The crew's, closed with the installation."""
    return boundary.orchestrator(crew)


@contextmanager
def bounded(folder: Path, **options: Any) -> Iterator[Boundary]:
    """A serving gateway that ends with the block."""
    boundary = Boundary(folder, **options)
    try:
        boundary.serve()
        yield boundary
    finally:
        boundary.end()
