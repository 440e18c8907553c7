"""The control API as its client sees it: mutual TLS, one request at a time, answers as structs.

Trusts one root and the server's name, no proxy and no redirect. What goes wrong is one line: why
the server cannot be asked (LinkError), or what it said (ControlError).
"""

import ssl
from pathlib import Path
from typing import Self, TypeVar
from urllib.parse import urlsplit

import httpx
import msgspec

from crewgate import limits
from crewgate.core.terminal_text import printable
from crewgate.errors import ConfigurationError, ControlError, LinkError
from crewgate.ssl_workarounds import show_certificate

T = TypeVar("T")
# A revocation waits a second for machines that do not answer; a large tree takes one to make.
_SECONDS = 2 * limits.link_seconds_max


def client_context(certificate: Path, key: Path, root: Path) -> ssl.SSLContext:
    """A TLS context that shows a certificate with its key, and trusts a root (PEM files).

    Raises:
        ConfigurationError: A file cannot be used; the text names it.
    """
    # No default context: from Python 3.13 on that trusts any certificate of the file as a root.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(root)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigurationError(
            f"{root}: no root to trust ({error.strerror or error}); name the CA's certs/ca.pem"
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        show_certificate(context, certificate, key)
    except OSError as error:
        raise ConfigurationError(
            f"{error}; PREFIX names both, as `crewgate ca issue --out PREFIX` writes them"
        ) from error
    return context


class ControlClient:
    """A connection to the control API at `url`; use it in a `with`.

    Each request raises LinkError if the API cannot be asked, and ControlError if it refuses.

    Raises:
        ConfigurationError: The URL cannot be used.
    """

    def __init__(self, url: str, context: ssl.SSLContext) -> None:
        self.url = _checked(url)
        self._http = httpx.Client(
            base_url=self.url, verify=context, timeout=_SECONDS, trust_env=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the connection go."""
        self._http.close()

    def get(self, path: str, kind: type[T], unready: int = 0) -> T:
        """What stands at `path`, also with the status `unready`."""
        return self._ask("GET", path, kind, unready)

    def post(self, path: str, ask: msgspec.Struct, kind: type[T]) -> T:
        """Have `ask` done."""
        headers = {"content-type": "application/json"}
        return self._ask("POST", path, kind, content=msgspec.json.encode(ask), headers=headers)

    def submit(self, path: str, form: dict[str, str], kind: type[T]) -> T:
        """Have what a form asks for done."""
        return self._ask("POST", path, kind, data=form)

    def _ask(self, method: str, path: str, kind: type[T], unready: int = 0, **how: object) -> T:
        try:
            answer = self._http.request(method, path, **how)  # type: ignore[arg-type]
        except httpx.HTTPError as error:
            raise LinkError(f"{self.url}: {_why(error)}") from error
        if answer.is_success or answer.status_code == unready:
            try:
                return msgspec.json.decode(answer.content, type=kind)
            except msgspec.DecodeError as error:
                raise LinkError(f"{self.url}: not an answer of this API: {error}") from error
        refusal = _refusal(answer)
        said = f"{self.url}: {refusal.message} ({answer.status_code})"
        raise ControlError(answer.status_code, refusal.error or "refused", said)


class _Refusal(msgspec.Struct):
    """What a problem or an error of OAuth has to say."""

    detail: str = ""
    error: str = ""
    error_description: str = ""

    @property
    def message(self) -> str:
        """For a person, within its bound."""
        text = self.detail or self.error_description or "it refuses"
        if self.error:
            text = f"{self.error}: {text}"
        return printable(text)[: limits.link_note_chars_max]


def _refusal(answer: httpx.Response) -> _Refusal:
    try:
        return msgspec.json.decode(answer.content, type=_Refusal)
    except msgspec.DecodeError:
        return _Refusal()


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_good = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
        is_good = is_good and url.isprintable() and " " not in url
    except ValueError:
        is_good = False
    if not is_good or parts.path.strip("/") or parts.query or parts.fragment or parts.username:
        raise ConfigurationError(f"control API {url!r}: expected https://HOST:PORT")
    return f"https://{parts.netloc}"


def _why(error: httpx.HTTPError) -> str:
    text = printable(str(error)) or type(error).__name__
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    if isinstance(error, httpx.ConnectError):
        return f"cannot connect: {text}; is the control process running there?"
    # TLS 1.3 tells a client that its certificate is refused with the first read.
    return f"the connection broke off: {text}; is our certificate good, and of this CA?"
