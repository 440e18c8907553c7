"""The internal CA and the control API, as a configuration names them; opens nothing."""

from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import msgspec

from crewgate import limits
from crewgate.config.ocsp import ResponderConfig
from crewgate.config.section import Section, ValueType


class RemoteCAConfig(msgspec.Struct, frozen=True):
    """The control API of the machine that has the CA's key: `url` is https://HOST:PORT.

    `certificate` (PEM, chain included) and `key` are a gateway's of the CA: what it is shown; None:
    those of [cluster].
    """

    url: str
    certificate: Path | None = None
    key: Path | None = None

    def __str__(self) -> str:
        return self.url


class CAConfig(msgspec.Struct, frozen=True):
    """The internal CA: `folder` holds its keys and register, for the control process alone.

    `root` is what clients and gateways trust, `crl` what gateways refuse by, `ocsp` whom they ask:
    all public, and so is `issuing`.
    """

    folder: Path
    root: Path
    crl: Path
    trust_domain: str  # of the SPIFFE IDs
    life_seconds: int = limits.certificate_life_seconds
    passphrase_file: Path | None = None  # of the keys; None: they are not encrypted
    ocsp: ResponderConfig | None = None  # None: nobody is asked
    control: RemoteCAConfig | None = (
        None  # None: what this machine lacks comes from its peers alone
    )

    @property
    def issuing(self) -> Path:
        """PEM of the CA that signs leaves, beside the root's: an OCSP request names it."""
        return self.root.parent / "issuing.pem"

    @property
    def issuing_key(self) -> Path:
        """Its key: whoever can read it is the CA."""
        return self.folder / "issuing.key"

    @property
    def root_key(self) -> Path:
        """The root's key, which signs issuing CAs: nothing that runs reads it."""
        return self.folder / "root.key"

    @property
    def register(self) -> Path:
        """The issuance database."""
        return self.folder / "issued.sqlite"


class ControlConfig(msgspec.Struct, frozen=True):
    """Where the control API listens; a certificate of the internal CA is always asked for."""

    address: str
    port: int
    certificate: Path
    key: Path


def read_remote(section: Section, path: ValueType[Path]) -> RemoteCAConfig | None:
    """What `[ca]` says of another machine's control API; None if it names none."""
    file = cast("ValueType[Path | None]", path)
    url = section.optional("control", _URL, "")
    certificate = section.optional("control_certificate", file, None)
    key = section.optional("control_key", file, None)
    if (certificate is None) != (key is None):
        section.problem("expected control_certificate and control_key, or neither")
    if certificate and not url:
        section.problem("control_certificate: nobody is shown it; add control")
    return RemoteCAConfig(url, certificate, key) if url else None


def _url(value: object) -> str:
    if not isinstance(value, str) or len(value) > limits.ocsp_url_chars_max:
        raise ValueError
    parts = urlsplit(value)
    is_place = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
    if not is_place or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError
    if parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError
    return f"https://{parts.netloc}"


_URL = ValueType('"https://HOST:PORT", without path, user or query', _url)
