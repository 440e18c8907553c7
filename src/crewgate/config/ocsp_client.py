"""Where the status of certificates is asked for (OCSP), and how much a listener makes of it.

Opens nothing and connects to nothing.
"""

import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from crewgate import limits
from crewgate.config import values
from crewgate.config.declaration import Key
from crewgate.config.section import Section, ValueParser
from crewgate.config.values import FilePath

OCSPMode = Literal["required", "soft-fail", "off"]

_UNIX = "unix:"
_PATH = "/ocsp"  # of our own control process, behind its unix socket
_LABEL = r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)"  # RFC 1123, section 2.1, and "_"
_PLACE = re.compile(
    rf"(?:{_LABEL}(?:\.{_LABEL})*\.?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{{1,5}})?", re.ASCII
)
_TARGET = re.compile(r"(?:/[!-\"$->@-~]*)?", re.ASCII)  # printable, neither query nor fragment


class OCSPClientConfig(msgspec.Struct, frozen=True):
    """An OCSP responder (RFC 6960): requests are posted to `url`, through `socket` if there is one.

    Over https it must have a certificate of the CA's root; `certificate` (PEM, chain included) and
    `key` are what it is shown, there both or not at all.
    """

    url: str
    socket: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    @property
    def is_authentic(self) -> bool:
        """Whether the way there says who answers: a signature alone does not say when."""
        return self.socket is not None or self.url.startswith("https:")

    def __str__(self) -> str:
        return f"{_UNIX}{self.socket}" if self.socket else self.url


def _responder(value: object) -> OCSPClientConfig:
    if not isinstance(value, str):
        raise ValueError  # noqa: TRY004 - one kind of error for whatever is wrong
    if value.startswith(_UNIX):
        path = values.PATH.read(value.removeprefix(_UNIX))
        return OCSPClientConfig(f"http://localhost{_PATH}", path)
    return OCSPClientConfig(_url(value))


def _in_folder(responder: OCSPClientConfig, folder: Path) -> OCSPClientConfig:
    socket = responder.socket and folder / responder.socket
    return msgspec.structs.replace(responder, socket=socket)


def _url(text: str) -> str:
    parts = urlsplit(text)
    if (
        len(text) > limits.ocsp_url_chars_max
        or parts.scheme not in {"http", "https"}
        or not parts.hostname
        or parts.port == 0  # also raises ValueError for one that is none
        or not _PLACE.fullmatch(parts.netloc)
        or not _TARGET.fullmatch(parts.path)
        or "?" in text
        or "#" in text
    ):
        raise ValueError
    return text


_RESPONDER = ValueParser(
    '"https://…", "http://…", or "unix:PATH", without user, query or fragment',
    _responder,
    resolve=_in_folder,
)


class OCSPConfigKeys(msgspec.Struct, frozen=True):
    """The keys of [ca] that say whom the gateway asks for the status of a certificate."""

    ocsp: Annotated[
        OCSPClientConfig | None,
        _RESPONDER,
        "OCSP responder that confirms a client's certificate before a byte is read.",
        Key(absent="nobody is asked"),
    ] = None
    ocsp_certificate: Annotated[
        FilePath | None, "PEM file: the certificate that an https responder is shown."
    ] = None
    ocsp_key: Annotated[FilePath | None, "PEM file: its private key."] = None

    def check(self, section: Section) -> None:
        """A certificate has a key, and somebody to be shown to."""
        certificate, key, responder = self.ocsp_certificate, self.ocsp_key, self.ocsp
        if (certificate is None) != (key is None):
            section.problem("expected ocsp_certificate and ocsp_key, or neither")
        if responder is None and (certificate or key):
            section.problem("ocsp_certificate: nobody is shown it; add ocsp")
        if responder and certificate and not responder.url.startswith("https:"):
            section.problem("ocsp_certificate: only a responder at https:// is shown it")

    def build(self) -> dict[str, OCSPClientConfig | None]:
        """The responder, with what it is shown."""
        if self.ocsp is None:
            return {"ocsp": None}
        shown = {"certificate": self.ocsp_certificate, "key": self.ocsp_key}
        return {"ocsp": msgspec.structs.replace(self.ocsp, **shown)}
