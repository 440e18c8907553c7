"""The OCSP client of a worker, which also logs failures.

Import it only if the configuration names a responder: no other part of a worker needs the X.509
library and an HTTP client, which take 15 MB.
"""

import logging
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path

import trio

from crewgate import limits
from crewgate.ca.key_files import read_certificates
from crewgate.ca.ocsp.client import OCSPClient
from crewgate.ca.ocsp.transport import OCSPTransport
from crewgate.ca.ocsp.verify import OCSPIssuer
from crewgate.config import CAConfig, OCSPClientConfig
from crewgate.core.x509.ocsp_result import CertificateStatus, UndeterminedStatus
from crewgate.errors import CAError, ConfigurationError

_log = logging.getLogger(__name__)


class ClientCertOCSPChecker:
    """Asks `responder` for the status of certificates of `ca`."""

    def __init__(self, ca: CAConfig, responder: OCSPClientConfig) -> None:
        """Read the issuing CA and the TLS files. Blocks; raises ConfigurationError."""
        # Take the digest before the files are read, so that a change in between is noticed.
        self._made_of = _files(ca, responder)
        try:
            issuing = read_certificates(ca.issuing)[0]
        except CAError as error:
            raise ConfigurationError(
                f"{error}; OCSP requests name the CA that signs leaf certificates: put its "
                "certificate there"
            ) from error
        self._responder = responder
        self._fetcher = OCSPTransport(responder, ca.root)
        self._checker = OCSPClient(
            OCSPIssuer(issuing), self._fetcher, is_authentic=responder.is_authentic
        )

    def is_for(self, ca: CAConfig, responder: OCSPClientConfig) -> bool:
        """Return whether a new client would be the same, so that this one's answers are of use.

        Blocks.
        """
        return self._made_of == _files(ca, responder)

    async def check(self, key: bytes, certificate: bytes) -> CertificateStatus:
        """Return the status of a certificate (DER) whose key in the table is `key`.

        Waits for at most `limits.ocsp_seconds_max`.
        """
        status = await self._checker.check(key, certificate)
        if isinstance(status, UndeterminedStatus):
            # The refused client is not told why, so the operator must be.
            _log.warning(
                "OCSP at %s: %s%s",
                self._responder,
                status.flaw.value,
                f": {status.detail}" if status.detail else "",
                extra={"subject": f"OCSP at {self._responder}"},
            )
        return status

    def forget(self, keys: Iterable[bytes]) -> None:
        """Forget the status of certificates that were revoked on this machine."""
        self._checker.forget(keys)

    async def close(self) -> None:
        """Close after `limits.ocsp_seconds_max`, when no check can be under way any more."""
        await trio.sleep(limits.ocsp_seconds_max)
        await self._fetcher.close()


def _files(ca: CAConfig, responder: OCSPClientConfig) -> tuple[object, ...]:
    """Return what a client is made of. A file that cannot be read never equals another."""
    paths = (ca.issuing, ca.root, responder.certificate, responder.key)
    return responder, *(_digest(path) for path in paths if path is not None)


def _digest(path: Path) -> object:
    try:
        return path, blake2b(path.read_bytes()).digest()
    except OSError:
        return object()
