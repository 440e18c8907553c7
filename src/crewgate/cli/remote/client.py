"""The control API for commands: the client, and the certificate that `--cert` names."""

import ssl
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.serialization import Encoding

from crewgate.ca.key_files import read_certificates
from crewgate.core.x509.certificate import read
from crewgate.core.x509.identity import Identity
from crewgate.errors import AuthorityError, ConfigurationError
from crewgate.issuer.control_client import ControlClient as Client
from crewgate.issuer.control_client import client_context


class ClientCertificateFiles(NamedTuple):
    """Our certificate `prefix`.pem with `prefix`.key, and the root that we trust (PEM)."""

    prefix: Path
    root: Path

    @property
    def certificate(self) -> Path:
        """The chain, leaf first."""
        return self.prefix.with_name(f"{self.prefix.name}.pem")

    @property
    def key(self) -> Path:
        """Its key."""
        return self.prefix.with_name(f"{self.prefix.name}.key")

    def context(self) -> ssl.SSLContext:
        """Of a client; ConfigurationError names the file that cannot be used."""
        return client_context(self.certificate, self.key, self.root)

    def identity(self) -> Identity:
        """Whom the certificate speaks for; ConfigurationError."""
        try:
            leaf = read_certificates(self.certificate)[0]
            return read(leaf.public_bytes(Encoding.DER)).speaks_for()
        except (AuthorityError, ValueError) as error:
            raise ConfigurationError(
                f"{self.certificate}: not a certificate of the internal CA ({error})"
            ) from error


class ControlClient(Client):
    """A connection to the control API at `url`, as the holder of `credentials`."""

    def __init__(self, url: str, credentials: ClientCertificateFiles) -> None:
        """ConfigurationError for a URL or files that cannot be used."""
        super().__init__(url, credentials.context())
        self.credentials = credentials
