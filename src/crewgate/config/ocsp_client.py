"""The OCSP responder that gateways ask for the status of client certificates."""

import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from crewgate import limits
from crewgate.config import values
from crewgate.config.declaration import Key
from crewgate.config.toml_table_reader import TOMLTableReader, ValueParser
from crewgate.config.values import FilePath

OCSPMode = Literal["required", "soft-fail", "off"]

_UNIX = "unix:"
# The path at which our own control process answers, behind its unix socket.
_PATH = "/ocsp"
_LABEL = r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)"  # RFC 1123, section 2.1, and "_"
_PLACE = re.compile(
    rf"(?:{_LABEL}(?:\.{_LABEL})*\.?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{{1,5}})?", re.ASCII
)
_TARGET = re.compile(r"(?:/[!-\"$->@-~]*)?", re.ASCII)  # printable, neither query nor fragment


class OCSPClientConfig(msgspec.Struct, frozen=True):
    """An OCSP responder (RFC 6960) at `url`, reached through the unix socket `socket`, if any.

    At an https URL it must have a certificate of the CA's root, and is presented `certificate` (PEM
    with its chain) and `key`, if they are set; either both are or none.
    """

    url: str
    socket: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    @property
    def is_authentic(self) -> bool:
        """Whether the connection proves who answers; a signature alone does not say when."""
        return self.socket is not None or self.url.startswith("https:")

    def __str__(self) -> str:
        return f"{_UNIX}{self.socket}" if self.socket else self.url


def _responder(value: object) -> OCSPClientConfig:
    text = values.string(value)
    if text.startswith(_UNIX):
        path = values.PATH.read(text.removeprefix(_UNIX))
        return OCSPClientConfig(f"http://localhost{_PATH}", path)
    return OCSPClientConfig(_url(text))


def _in_folder(responder: OCSPClientConfig, folder: Path) -> OCSPClientConfig:
    socket = responder.socket and folder / responder.socket
    return msgspec.structs.replace(responder, socket=socket)


def _url(text: str) -> str:
    parts = urlsplit(text)
    if (
        len(text) > limits.ocsp_url_chars_max
        or parts.scheme not in {"http", "https"}
        or not parts.hostname
        or parts.port == 0  # raises ValueError itself for a bad port
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
    """The keys of [ca] that name the OCSP responder."""

    ocsp: Annotated[
        OCSPClientConfig | None,
        _RESPONDER,
        "OCSP responder that confirms a client's certificate before a byte is read.",
        Key(absent="no responder is asked"),
    ] = None
    ocsp_certificate: Annotated[
        FilePath | None, "PEM file: the certificate to present to an https responder."
    ] = None
    ocsp_key: Annotated[FilePath | None, "PEM file: its private key."] = None

    def check(self, section: TOMLTableReader) -> None:
        """Note a certificate without its key, or without a use."""
        certificate, key, responder = self.ocsp_certificate, self.ocsp_key, self.ocsp
        section.problem_unless_both("ocsp_certificate", "ocsp_key")
        if responder is None and (certificate or key):
            section.problem("ocsp_certificate: it has no effect without ocsp; add ocsp")
        if responder and certificate and not responder.url.startswith("https:"):
            section.problem(
                "ocsp_certificate: it has no effect, because ocsp is not an https:// URL; remove it"
            )

    def build(self) -> dict[str, OCSPClientConfig | None]:
        """Return the responder, with the certificate to present."""
        if self.ocsp is None:
            return {"ocsp": None}
        files = {"certificate": self.ocsp_certificate, "key": self.ocsp_key}
        return {"ocsp": msgspec.structs.replace(self.ocsp, **files)}
