"""Gets certificates, the CRL and OCSP answers from the control API of another machine.

Uses mutual TLS with a gateway's certificate, sends one request at a time, and bounds the responses.
Blocks, for a few seconds at most. CAError says in one line why there is no response.
"""

import ssl
from http import HTTPStatus
from pathlib import Path

import httpx
import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from crewgate import limits
from crewgate.api.schemas import CertificateResponse, CertificateSigningRequest, Problem
from crewgate.ca.authority import request_pem
from crewgate.ca.certificates import pem
from crewgate.ca.key_files import read_key
from crewgate.ca.machine_cert_renewal import CertificateFiles
from crewgate.config import RemoteCAConfig
from crewgate.core.terminal_text import printable
from crewgate.core.x509.certificate import read
from crewgate.core.x509.identity_oids import STANDARD, IdentityOIDs
from crewgate.errors import CAError
from crewgate.ssl_workarounds import show_certificate


class RemoteCAClient:
    """A client of the API that `remote` names; trusts only `root` (PEM).

    `oids` are those of the configuration, under which identities are read.
    """

    def __init__(self, remote: RemoteCAConfig, root: Path, oids: IdentityOIDs = STANDARD) -> None:
        self._oids = oids
        self._url = remote.url
        self._root = root
        self._own: CertificateFiles | None = None
        if remote.certificate is not None and remote.key is not None:
            self._own = CertificateFiles(remote.certificate, remote.key)

    def revoked(self) -> bytes:
        """Return the CRL (DER); CAError."""
        data = self._ask("/crl", limits.crl_bytes_max)
        try:
            return x509.load_pem_x509_crl(data).public_bytes(Encoding.DER)
        except ValueError as error:
            raise CAError(f"{self._url}: the response is not a CRL") from error

    def ocsp(self, request: bytes) -> bytes:
        """Return the response to an OCSP request (RFC 6960), both DER; CAError."""
        headers = {"content-type": "application/ocsp-request"}
        bytes_max = limits.ocsp_response_bytes_max
        return self._ask("/ocsp", bytes_max, content=request, headers=headers)

    def next_chain(self, leaf: x509.Certificate, pair: CertificateFiles) -> bytes:
        """Return the next certificate (PEM) after `leaf`, whose files are `pair`; CAError.

        A certificate with an identity authenticates its own renewal. For a server certificate,
        which has none, this machine's own certificate does.
        """
        is_server = read(leaf.public_bytes(Encoding.DER), self._oids).identity is None
        csr = request_pem(read_key(pair.key)).decode()
        ask = CertificateSigningRequest(request=csr, renews=pem(leaf).decode() if is_server else "")
        headers = {"content-type": "application/json"}
        bytes_max = limits.certificate_bytes_max * limits.chain_certificates_max
        shown, body = None if is_server else pair, msgspec.json.encode(ask)
        data = self._ask("/v1/certificates", bytes_max, shown, content=body, headers=headers)
        try:
            return msgspec.json.decode(data, type=CertificateResponse).certificate.encode()
        except msgspec.DecodeError as error:
            raise CAError(f"{self._url}: not the response of a control API") from error

    def _ask(
        self, path: str, bytes_max: int, pair: CertificateFiles | None = None, **options: object
    ) -> bytes:
        """GET, or POST with the content and headers in `options`."""
        method = "POST" if options else "GET"
        context = self._context(pair or self._own)
        try:
            with (
                httpx.Client(
                    base_url=self._url,
                    verify=context,
                    timeout=limits.remote_seconds_max,
                    headers={"accept-encoding": "identity"},
                    trust_env=False,
                ) as client,
                client.stream(method, path, **options) as response,  # type: ignore[arg-type]
            ):
                body = bytearray()
                for piece in response.iter_raw():
                    body += piece
                    if len(body) > bytes_max:
                        raise CAError(f"{self._url}: the response has over {bytes_max} bytes")
                status = response.status_code
        except (httpx.HTTPError, OSError) as error:
            text = printable(str(error)) or type(error).__name__
            raise CAError(f"{self._url}: the request failed: {text}") from error
        if status not in {HTTPStatus.OK, HTTPStatus.CREATED}:
            raise CAError(f"{self._url} refused: {_detail(bytes(body))} ({status})")
        return bytes(body)

    def _context(self, pair: CertificateFiles | None) -> ssl.SSLContext:
        # PROTOCOL_TLS_CLIENT sets CERT_REQUIRED and check_hostname.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        try:
            context.load_verify_locations(self._root)
            if pair is not None:
                show_certificate(context, pair.certificate, pair.key)
        except OSError as error:  # ssl.SSLError is an OSError
            text = error.strerror or error
            raise CAError(f"{self._root} or {pair}: cannot be used: {text}") from error
        return context


def _detail(body: bytes) -> str:
    try:
        text = msgspec.json.decode(body, type=Problem).detail
    except msgspec.DecodeError:
        text = ""
    return printable(text)[: limits.ipc_reason_chars_max] or "no reason given"
