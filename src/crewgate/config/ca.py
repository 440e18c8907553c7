"""The table [ca]: the internal CA, and the machine that has its key, if that is another one."""

from pathlib import Path
from typing import Annotated

import msgspec

from crewgate import limits
from crewgate.config import values
from crewgate.config.declaration import FlattenedKeys, Key, TableSchema
from crewgate.config.ocsp_client import OCSPClientConfig, OCSPConfigKeys
from crewgate.config.toml_table_reader import TOMLTableReader
from crewgate.config.values import FilePath, HostName
from crewgate.core.x509.identity_oids import DEFAULT, IdentityOIDs


class RemoteCAConfig(msgspec.Struct, frozen=True):
    """The control API of the machine that has the CA's key; `url` is https://HOST:PORT.

    This machine presents `certificate` (PEM with its chain) and `key`, issued by the CA to a
    gateway. None means those of [cluster].
    """

    url: str
    certificate: Path | None = None
    key: Path | None = None

    def __str__(self) -> str:
        return self.url


class _RemoteKeys(msgspec.Struct, frozen=True):
    control: Annotated[
        str | None,
        values.CONTROL_URL,
        "Control API of the machine that has the CA's key.",
        Key(absent="this machine has it"),
    ] = None
    control_certificate: Annotated[
        FilePath | None,
        "PEM file: the gateway's certificate to present to the machine at `control`.",
        Key(absent="that of [cluster]"),
    ] = None
    control_key: Annotated[
        FilePath | None, "PEM file: its private key.", Key(absent="that of [cluster]")
    ] = None

    def check(self, section: TOMLTableReader) -> None:
        """Note a certificate without its key, or without a use."""
        section.problem_unless_both("control_certificate", "control_key")
        if self.control_certificate and not self.control:
            section.problem("control_certificate: it has no effect without control; add control")

    def build(self) -> dict[str, RemoteCAConfig | None]:
        """Return the API, with the certificate to present."""
        files = self.control_certificate, self.control_key
        return {"control": RemoteCAConfig(self.control, *files) if self.control else None}


class CAConfig(msgspec.Struct, frozen=True):
    """The internal CA. Only the control process reads its keys and its database in `folder`.

    All other files are public: clients and gateways trust `root`, and gateways refuse certificates
    by `crl` and by the responder `ocsp`.
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
        "Domain of the SPIFFE IDs in certificates. With [cluster], a change needs a restart.",
    ]
    life_seconds: Annotated[
        int,
        values.integer(1, limits.certificate_life_seconds_max),
        "Life of a certificate, unless the request names another one.",
    ] = limits.certificate_life_seconds
    passphrase_file: Annotated[
        FilePath | None,
        "File with the passphrase of the CA's keys.",
        Key(absent="they are not encrypted"),
    ] = None
    identity_oid: Annotated[
        str | None,
        values.IDENTITY_OID,
        "OID of the extension in which the CA writes identities. "
        "With [cluster], a change needs a restart.",
        Key(absent="the OID of this project"),
    ] = None
    accepted_identity_oids: Annotated[
        tuple[str, ...],
        values.listed(values.IDENTITY_OID, limits.identity_oids_max),
        "Further OIDs under which this machine reads identities, besides `identity_oid`, the "
        "default and the former default. With [cluster], a change needs a restart.",
    ] = ()
    ocsp: Annotated[OCSPClientConfig | None, FlattenedKeys(of=TableSchema(OCSPConfigKeys))] = None
    control: Annotated[RemoteCAConfig | None, FlattenedKeys(of=TableSchema(_RemoteKeys))] = None

    @property
    def identity_oids(self) -> IdentityOIDs:
        """The OIDs of the identity extension: the one to write, and those to read."""
        return IdentityOIDs.of(self.identity_oid or DEFAULT, self.accepted_identity_oids)

    @property
    def issuing(self) -> Path:
        """PEM file of the CA that signs leaf certificates; an OCSP request names this CA."""
        return self.root.parent / "issuing.pem"

    @property
    def issuing_key(self) -> Path:
        """The private key of the issuing CA; anyone who can read it can act as the CA."""
        return self.folder / "issuing.key"

    @property
    def root_key(self) -> Path:
        """The private key of the root, which signs issuing CAs; no running process reads it."""
        return self.folder / "root.key"

    @property
    def register(self) -> Path:
        """The issuance database."""
        return self.folder / "issued.sqlite"
