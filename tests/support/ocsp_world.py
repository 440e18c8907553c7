"""A small world of certificates for tests of OCSP, and responders of any honesty."""

import socket
import socketserver
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from crewgate.ca.certificate_db import CertificateDB, CertificateRecord
from crewgate.ca.certificates import (
    CertificateAndKey,
    CertificateValidity,
    make_issuing,
    make_leaf,
    make_responder,
    make_root,
    new_key,
)
from crewgate.ca.ocsp.verify import OCSPIssuer
from crewgate.core.x509.certificate import serial_text
from crewgate.core.x509.der import (
    ENUMERATED,
    OBJECT_IDENTIFIER,
    OCTET_STRING,
    SEQUENCE,
    identifier,
    write,
    write_integer,
)
from crewgate.core.x509.identity_extension import Identity, Role

BIT_STRING = 0x03
NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
Answer = Callable[[bytes], bytes]


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


class World:
    """An issuing CA, a leaf and a delegate as of `now`; another CA that nobody asked."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now
        self.root = make_root(now)
        self.issuing = make_issuing(self.root, now)
        self.stranger = make_issuing(self.root, now)  # the same name, another key
        self.issuer = OCSPIssuer(self.issuing.certificate)
        self.delegate = make_responder(self.issuing, now)
        self.leaf = self.make_leaf(self.issuing)
        self.sibling = self.make_leaf(self.issuing)

    def make_leaf(self, issuing: CertificateAndKey, name: str = "bd-1") -> CertificateAndKey:
        key = new_key()
        identity = Identity(Role.ORCHESTRATOR, name, bytes(16), "bd")
        validity = CertificateValidity.of(self.now, timedelta(hours=4))
        leaf = make_leaf(issuing, key.public_key(), identity, "crewgate.internal", validity)
        return CertificateAndKey(leaf, key)

    def make_delegate(
        self,
        *,
        signer: CertificateAndKey | None = None,
        usages: Sequence[x509.ObjectIdentifier] | None = (ExtendedKeyUsageOID.OCSP_SIGNING,),
        begins: timedelta = timedelta(),
        life: timedelta = timedelta(days=1),
        more: Sequence[tuple[x509.ExtensionType, bool]] = (),
    ) -> CertificateAndKey:
        """A responder's certificate that may lack what it needs."""
        signer, key = signer or self.issuing, new_key()
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(signer.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.now + begins)
            .not_valid_after(self.now + begins + life)
        )
        if usages is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        for value, is_critical in more:
            builder = builder.add_extension(value, critical=is_critical)
        return CertificateAndKey(builder.sign(signer.key, hashes.SHA256()), key)

    def respond(  # noqa: PLR0913 - each part of a response may be wrong
        self,
        *,
        leaf: CertificateAndKey | None = None,
        issuer: CertificateAndKey | None = None,
        signer: CertificateAndKey | None = None,
        key: ec.EllipticCurvePrivateKey | None = None,
        status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD,
        begin: timedelta | None = timedelta(),
        end: timedelta | None = timedelta(seconds=60),
        nonce: bytes | None = None,
        algorithm: hashes.HashAlgorithm | None = None,
        encoding: ocsp.OCSPResponderEncoding = ocsp.OCSPResponderEncoding.HASH,
        more: Sequence[tuple[x509.ExtensionType, bool]] = (),
        certificates: Sequence[x509.Certificate] | None = None,
    ) -> bytes:
        """A response by the library's own hand; the defaults make a good one."""
        signer = signer or self.delegate
        is_revoked = status is ocsp.OCSPCertStatus.REVOKED
        builder = ocsp.OCSPResponseBuilder().add_response(
            cert=(leaf or self.leaf).certificate,
            issuer=(issuer or self.issuing).certificate,
            algorithm=algorithm or hashes.SHA256(),
            cert_status=status,
            this_update=self.now + (begin or timedelta()),
            next_update=None if end is None else self.now + end,
            revocation_time=self.now if is_revoked else None,
            revocation_reason=x509.ReasonFlags.key_compromise if is_revoked else None,
        )
        builder = builder.responder_id(encoding, signer.certificate)
        shown = [signer.certificate] if certificates is None else list(certificates)
        if shown:
            builder = builder.certificates(shown)
        if nonce is not None:
            builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
        for value, is_critical in more:
            builder = builder.add_extension(value, critical=is_critical)
        data = builder.sign(signer.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
        return data if key is None else resigned(data, key)

    def enter(self, register: CertificateDB, issued: CertificateAndKey) -> CertificateRecord:
        """Have a leaf in the register."""
        certificate = issued.certificate
        entry = CertificateRecord(
            serial=serial_text(certificate.serial_number),
            role=Role.ORCHESTRATOR,
            crew="bd",
            name="bd-1",
            instance=bytes(16),
            not_before=int(certificate.not_valid_before_utc.timestamp()),
            not_after=int(certificate.not_valid_after_utc.timestamp()),
            issued=int(self.now.timestamp()),
            pem=issued.certificate_pem.decode(),
        )
        register.add(entry)
        return entry


def resigned(
    data: bytes,
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
    change: Callable[[bytes], bytes] = lambda tbs: tbs,
) -> bytes:
    """The same response, with a change, signed with another key, which the library refuses.

    An RSA key signs with SHA-1.
    """
    response = ocsp.load_der_ocsp_response(data)
    tbs = change(response.tbs_response_bytes)
    if isinstance(key, rsa.RSAPrivateKey):
        oid, signature = "1.2.840.113549.1.1.5", key.sign(tbs, padding.PKCS1v15(), hashes.SHA1())
    else:
        oid, signature = "1.2.840.10045.4.3.2", key.sign(tbs, ec.ECDSA(hashes.SHA256()))
    shown = [der(certificate) for certificate in response.certificates]
    basic = write(
        SEQUENCE,
        tbs,
        write(SEQUENCE, write(OBJECT_IDENTIFIER, identifier(oid))),
        write(BIT_STRING, b"\0", signature),
        *([write(0xA0, write(SEQUENCE, *shown))] if shown else []),
    )
    kind = write(OBJECT_IDENTIFIER, identifier("1.3.6.1.5.5.7.48.1.1"))
    body = write(SEQUENCE, kind, write(OCTET_STRING, basic))
    return write(SEQUENCE, write_integer(0, ENUMERATED), write(0xA0, body))


def refusal(status: ocsp.OCSPResponseStatus) -> bytes:
    """An unsigned response that says why there is none."""
    response = ocsp.OCSPResponseBuilder.build_unsuccessful(status)
    return response.public_bytes(serialization.Encoding.DER)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.heads.append((self.path, dict(self.headers)))
        self._send(self.server.answer(body))

    def do_GET(self) -> None:
        self._send(self.server.answer_path(self.path.removeprefix("/ocsp/")))

    def _send(self, data: bytes) -> None:
        self.send_response(self.server.status)
        self.send_header("content-type", self.server.kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Ending(socketserver.ThreadingMixIn):
    """Ends the connections that clients keep when it ends itself, as a process would."""

    daemon_threads = True

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open = [*getattr(self, "_open", ()), request]
        super().process_request(request, client_address)

    def server_close(self) -> None:
        for request in getattr(self, "_open", ()):
            with suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)
        super().server_close()


class HTTPResponder(_Ending, HTTPServer):
    """Posts go to `answer`, what follows /ocsp/ in a GET to `answer_path`; on loopback."""

    def __init__(self, answer: Answer, answer_path: Callable[[str], bytes] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.answer_path = answer_path
        self.status = 200
        self.kind = "application/ocsp-response"
        self.heads: list[tuple[str, dict[str, str]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/ocsp"


class _UnixHandler(_Handler):
    def address_string(self) -> str:
        return "unix"


class UnixResponder(_Ending, socketserver.UnixStreamServer):
    """The same at a unix socket, as a control process has one."""

    def __init__(self, path: Path, answer: Answer) -> None:
        super().__init__(str(path), _UnixHandler)
        self.answer = answer
        self.status = 200
        self.kind = "application/ocsp-response"
        self.heads: list[tuple[str, dict[str, str]]] = []


Server = TypeVar("Server", bound=socketserver.BaseServer)


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    """Serve in a thread while the block runs."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def write_pair(folder: Path, name: str, issued: CertificateAndKey) -> None:
    """A certificate and its key as PEM files."""
    (folder / f"{name}.pem").write_bytes(issued.certificate_pem)
    (folder / f"{name}.key").write_bytes(issued.key_pem)
