"""The internal CA and the control API, as a configuration names them; opens nothing."""

from pathlib import Path

import msgspec

from crewgate import limits
from crewgate.config.ocsp import Responder


class CA(msgspec.Struct, frozen=True):
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
    ocsp: Responder | None = None  # None: nobody is asked

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


class Control(msgspec.Struct, frozen=True):
    """Where the control API listens; a certificate of the internal CA is always asked for."""

    address: str
    port: int
    certificate: Path
    key: Path
