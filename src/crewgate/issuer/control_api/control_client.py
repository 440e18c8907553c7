"""The client of the control API: mutual TLS, one request at a time, responses as structs.

The client trusts one root certificate and verifies the server's name. It uses no proxy and follows
no redirect. It raises ServiceConnectionError if it cannot reach the server, and ControlError if
the server refuses; the message of either is one line.
"""

import ssl
from pathlib import Path
from typing import Self, TypeVar

import httpx
import msgspec

from crewgate import limits
from crewgate.config.values import CONTROL_URL
from crewgate.core.terminal_text import printable
from crewgate.errors import ConfigurationError, ControlError, ServiceConnectionError
from crewgate.ssl_workarounds import show_certificate

T = TypeVar("T")
# A revocation waits a second for machines that do not answer. A large tree takes a second to make.
_SECONDS = 2 * limits.ipc_seconds_max


def client_context(certificate: Path, key: Path, root: Path) -> ssl.SSLContext:
    """Make a TLS context that presents a certificate and trusts one root (PEM files).

    Raises:
        ConfigurationError: A file cannot be used; the message names it.
    """
    # From Python 3.13 on, the default context trusts every certificate of the file as a root.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(root)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigurationError(
            f"{root}: cannot read the root certificate ({error.strerror or error}); name the CA's "
            "certs/ca.pem"
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        show_certificate(context, certificate, key)
    except OSError as error:
        raise ConfigurationError(
            f"{error}; expected PREFIX.pem and PREFIX.key, as `crewgate ca issue --out PREFIX` "
            "writes them"
        ) from error
    return context


class ControlClient:
    """A connection to the control API at `url`; use it as a context manager.

    `way` is the TLS context, or the unix socket of `crewgate run`, which takes plain HTTP. A
    request raises ServiceConnectionError if it cannot reach the API, and ControlError if the API
    refuses.

    Raises:
        ConfigurationError: The URL cannot be used.
    """

    def __init__(self, url: str, way: ssl.SSLContext | Path) -> None:
        transport = None
        if isinstance(way, Path):
            self.url, transport = url, httpx.HTTPTransport(uds=str(way))
        else:
            try:
                self.url = CONTROL_URL.read(url)
            except ValueError:
                raise ConfigurationError(
                    f"control API {url!r}: expected https://HOST:PORT"
                ) from None
        self._http = httpx.Client(
            base_url=self.url,
            verify=way if isinstance(way, ssl.SSLContext) else True,
            transport=transport,
            timeout=_SECONDS,
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def get(self, path: str, kind: type[T], unready: int = 0) -> T:
        """GET `path` as a `kind`. A response with the status `unready` is no refusal either."""
        return self._send("GET", path, kind, unready)

    def post(self, path: str, body: msgspec.Struct, kind: type[T]) -> T:
        """POST `body` as JSON, and return the response as a `kind`."""
        headers = {"content-type": "application/json"}
        return self._send("POST", path, kind, content=msgspec.json.encode(body), headers=headers)

    def submit(self, path: str, form: dict[str, str], kind: type[T]) -> T:
        """POST a form, and return the response as a `kind`."""
        return self._send("POST", path, kind, data=form)

    def _send(
        self, method: str, path: str, kind: type[T], unready: int = 0, **options: object
    ) -> T:
        try:
            response = self._http.request(method, path, **options)  # type: ignore[arg-type]
        except httpx.HTTPError as error:
            raise ServiceConnectionError(f"{self.url}: {_failure(error)}") from error
        if response.is_success or response.status_code == unready:
            try:
                return msgspec.json.decode(response.content, type=kind)
            except msgspec.DecodeError as error:
                raise ServiceConnectionError(
                    f"{self.url}: not a response of this API: {error}"
                ) from error
        refusal = _refusal(response)
        text = f"{self.url}: {refusal.message} ({response.status_code})"
        raise ControlError(response.status_code, refusal.slug, text)


class _Refusal(msgspec.Struct):
    """The texts of a problem document (RFC 9457) or of an OAuth error."""

    type: str = ""
    detail: str = ""
    error: str = ""
    error_description: str = ""

    @property
    def slug(self) -> str:
        """The slug of the problem; older gateways send none with an OAuth error: then its code."""
        return self.type.rpartition("/")[2] or self.error or "refused"

    @property
    def message(self) -> str:
        """One line for a person, of bounded length."""
        text = self.detail or self.error_description or "the API refuses the request"
        if self.error:
            text = f"{self.error}: {text}"
        return printable(text)[: limits.ipc_reason_chars_max]


def _refusal(response: httpx.Response) -> _Refusal:
    try:
        return msgspec.json.decode(response.content, type=_Refusal)
    except msgspec.DecodeError:
        return _Refusal()


def _failure(error: httpx.HTTPError) -> str:
    text = printable(str(error)) or type(error).__name__
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return (
            f"cannot connect: {text}; the root certificate (`ca`) must be the one that signed the "
            "server's certificate, which must name the host of this URL"
        )
    if isinstance(error, httpx.ConnectError):
        return f"cannot connect: {text}; is the control process running there?"
    # With TLS 1.3, a client learns with its first read that the server refuses its certificate.
    return (
        f"the connection broke off: {text}; is the certificate of this client valid, and issued by "
        "the CA of the server?"
    )
