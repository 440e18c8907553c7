"""The client of the control API for commands, and the certificate files of `--cert` and `--ca`."""

import ssl
from pathlib import Path
from typing import NamedTuple

from crewgate.ca.certificates import identity_under_any_oid
from crewgate.ca.key_files import read_certificates
from crewgate.core.x509.identity_extension import Identity
from crewgate.errors import CAError, ConfigurationError
from crewgate.issuer.control_api.control_client import ControlClient as Client
from crewgate.issuer.control_api.control_client import client_context


class ClientCertificateFiles(NamedTuple):
    """A client certificate (chain, leaf first), its key, and the root to trust, all in PEM."""

    certificate: Path
    key: Path
    root: Path

    def context(self) -> ssl.SSLContext:
        """Return a TLS context for a client; ConfigurationError names the unusable file."""
        return client_context(self.certificate, self.key, self.root)

    def identity(self) -> Identity:
        """Return the identity that the certificate names; ConfigurationError if it names none."""
        try:
            return identity_under_any_oid(read_certificates(self.certificate)[0])
        except (CAError, ValueError) as error:
            raise ConfigurationError(
                f"{self.certificate}: not a certificate of the internal CA ({error})"
            ) from error


class ControlClient(Client):
    """A connection to the control API at `url`, as the holder of `credentials`."""

    def __init__(self, url: str, credentials: ClientCertificateFiles) -> None:
        """Raise ConfigurationError for a URL or files that cannot be used."""
        super().__init__(url, credentials.context())
        self.credentials = credentials
