"""The machine that has the CA's key, asked over its control API for what this one lacks.

Mutual TLS with a gateway's certificate, one request at a time, answers bounded. Blocks, for a few
seconds at most. AuthorityError says in one line why there is no answer.
"""

import ssl
from http import HTTPStatus
from pathlib import Path

import httpx
import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from crewgate import limits
from crewgate.api.schemas import CertificateResponse, CertificateSigningRequest
from crewgate.ca.authority import request_pem
from crewgate.ca.certificates import pem
from crewgate.ca.key_files import read_key
from crewgate.ca.renewal import CertificateFiles
from crewgate.config import RemoteCAConfig
from crewgate.core.terminal_text import printable
from crewgate.errors import AuthorityError
from crewgate.ssl_workarounds import show_certificate

_OCSP = "application/ocsp-request"


class RemoteCAClient:
    """The API that `remote` names; `root` (PEM) is trusted and nothing else."""

    def __init__(self, remote: RemoteCAConfig, root: Path) -> None:
        self._url = remote.url
        self._root = root
        self._own: CertificateFiles | None = None
        if remote.certificate is not None and remote.key is not None:
            self._own = CertificateFiles(remote.certificate, remote.key)

    def revoked(self) -> bytes:
        """The list of the revoked, as DER; AuthorityError."""
        data = self._ask("GET", "/crl", limits.crl_bytes_max)
        try:
            return x509.load_pem_x509_crl(data).public_bytes(Encoding.DER)
        except ValueError as error:
            raise AuthorityError(f"{self._url}: not a list of revoked certificates") from error

    def ocsp(self, request: bytes) -> bytes:
        """The answer to a question of RFC 6960, both DER; AuthorityError."""
        head = {"content-type": _OCSP}
        most = limits.ocsp_response_bytes_max
        return self._ask("POST", "/ocsp", most, content=request, headers=head)

    def next_chain(
        self, leaf: x509.Certificate, pair: CertificateFiles, *, is_server: bool
    ) -> bytes:
        """PEM of the next certificate after `leaf`, whose files are `pair`; AuthorityError.

        One that says whom it speaks for is shown to the API itself; for a server's, this machine's
        own certificate asks.
        """
        csr = request_pem(read_key(pair.key)).decode()
        ask = CertificateSigningRequest(request=csr, renews=pem(leaf).decode() if is_server else "")
        data = self._ask(
            "POST",
            "/v1/certificates",
            limits.certificate_bytes_max * limits.chain_certificates_max,
            content=msgspec.json.encode(ask),
            headers={"content-type": "application/json"},
            pair=None if is_server else pair,
        )
        try:
            return msgspec.json.decode(data, type=CertificateResponse).certificate.encode()
        except msgspec.DecodeError as error:
            raise AuthorityError(f"{self._url}: not an answer of a control API") from error

    def _ask(
        self,
        method: str,
        path: str,
        bytes_max: int,
        *,
        pair: CertificateFiles | None = None,
        **how: object,
    ) -> bytes:
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
                client.stream(method, path, **how) as answer,  # type: ignore[arg-type]
            ):
                body = bytearray()
                for piece in answer.iter_raw():
                    body += piece
                    if len(body) > bytes_max:
                        raise AuthorityError(f"{self._url}: an answer of over {bytes_max} bytes")
                status = answer.status_code
        except (httpx.HTTPError, OSError) as error:
            text = printable(str(error)) or type(error).__name__
            raise AuthorityError(f"{self._url} cannot be asked: {text}") from error
        if status not in {HTTPStatus.OK, HTTPStatus.CREATED}:
            raise AuthorityError(f"{self._url} refuses: {_detail(bytes(body))} ({status})")
        return bytes(body)

    def _context(self, pair: CertificateFiles | None) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # with CERT_REQUIRED and check_hostname
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        try:
            context.load_verify_locations(self._root)
            if pair is not None:
                show_certificate(context, pair.certificate, pair.key)
        except OSError as error:  # ssl.SSLError is one
            text = error.strerror or error
            raise AuthorityError(f"{self._root} or {pair}: cannot be used: {text}") from error
        return context


class _Problem(msgspec.Struct):
    """What a refusal has to say."""

    detail: str = ""


def _detail(body: bytes) -> str:
    try:
        text = msgspec.json.decode(body, type=_Problem).detail
    except msgspec.DecodeError:
        text = ""
    return printable(text)[: limits.link_note_chars_max] or "without a word"
