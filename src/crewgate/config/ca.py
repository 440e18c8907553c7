"""[ca]: the internal CA, and the machine that has its key, if that is another; opens nothing."""

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import msgspec

from crewgate import limits
from crewgate.config import values
from crewgate.config.declaration import Key, KeyGroup, TableSchema
from crewgate.config.ocsp_client import OCSPClientConfig, OCSPConfigKeys
from crewgate.config.section import Section, ValueParser
from crewgate.config.values import FilePath, HostName


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


_URL = ValueParser('"https://HOST:PORT", without path, user or query', _url)


class _RemoteKeys(msgspec.Struct, frozen=True):
    """The keys of [ca] that name another machine's control API."""

    control: Annotated[
        str | None,
        _URL,
        "Control API of the machine that has the CA's key.",
        Key(absent="this machine has it"),
    ] = None
    control_certificate: Annotated[
        FilePath | None,
        "PEM file: the gateway's certificate that the machine at `control` is shown.",
        Key(absent="that of [cluster]"),
    ] = None
    control_key: Annotated[
        FilePath | None, "PEM file: its private key.", Key(absent="that of [cluster]")
    ] = None

    def check(self, section: Section) -> None:
        """A certificate has a key, and somebody to be shown to."""
        if (self.control_certificate is None) != (self.control_key is None):
            section.problem("expected control_certificate and control_key, or neither")
        if self.control_certificate and not self.control:
            section.problem("control_certificate: nobody is shown it; add control")

    def build(self) -> dict[str, RemoteCAConfig | None]:
        """The API, with what it is shown."""
        shown = self.control_certificate, self.control_key
        return {"control": RemoteCAConfig(self.control, *shown) if self.control else None}


class CAConfig(msgspec.Struct, frozen=True):
    """The internal CA: `folder` holds its keys and register, for the control process alone.

    `root` is what clients and gateways trust, `crl` what gateways refuse by, `ocsp` whom they ask:
    all public, and so is `issuing`.
    """

    folder: Annotated[FilePath, "Folder of the CA's keys and register.", Key(default=Path("ca"))]
    root: Annotated[
        FilePath,
        "PEM file: the root certificate that clients and gateways trust.",
        Key(default=Path("certs/ca.pem")),
    ]
    crl: Annotated[
        FilePath, "PEM file: the list of revoked certificates.", Key(default=Path("certs/crl.pem"))
    ]
    trust_domain: Annotated[
        HostName,
        "Domain of the SPIFFE IDs in certificates. A member of a cluster restarts for another.",
    ]
    life_seconds: Annotated[
        int,
        values.integer(1, limits.certificate_life_seconds_max),
        "Life of a certificate, unless a shorter one is asked for.",
    ] = limits.certificate_life_seconds
    passphrase_file: Annotated[
        FilePath | None,
        "File with the passphrase of the CA's keys.",
        Key(absent="they are not encrypted"),
    ] = None
    ocsp: Annotated[OCSPClientConfig | None, KeyGroup(of=TableSchema(OCSPConfigKeys))] = None
    control: Annotated[RemoteCAConfig | None, KeyGroup(of=TableSchema(_RemoteKeys))] = None

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
