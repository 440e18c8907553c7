"""Certificates' status for one configuration: whom a worker asks, and what it says of failures.

Nobody else in a worker needs X.509 and a client of HTTP: this is imported where a configuration
names a responder, and only there.
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
from crewgate.config import CAConfig, ResponderConfig
from crewgate.core.x509.certificate_status import CertificateStatus, UndeterminedStatus
from crewgate.errors import AuthorityError, ConfigurationError

_log = logging.getLogger(__name__)


class OCSPStatusClient:
    """Asks `responder` for the status of certificates of `ca`; is a worker's `OCSPStatusClient`."""

    def __init__(self, ca: CAConfig, responder: ResponderConfig) -> None:
        """Read the issuing CA and what TLS needs; ConfigurationError. Blocks."""
        self._made_of = _files(ca, responder)  # before they are read: no later change escapes
        try:
            issuing = read_certificates(ca.issuing)[0]
        except AuthorityError as error:
            raise ConfigurationError(
                f"{error}; OCSP asks in the name of the CA that signs leaves: put it there"
            ) from error
        self._responder = responder
        self._fetcher = OCSPTransport(responder, ca.root)
        self._checker = OCSPClient(
            OCSPIssuer(issuing), self._fetcher, is_authentic=responder.is_authentic
        )

    def __repr__(self) -> str:
        return f"<OCSPStatusClient {self._responder} {self._checker!r}>"

    def is_for(self, ca: CAConfig, responder: ResponderConfig) -> bool:
        """Whether one made now would ask the same, so that what this one has heard is of use.

        Blocks.
        """
        return self._made_of == _files(ca, responder)

    async def check(self, key: bytes, certificate: bytes) -> CertificateStatus:
        """The status of a certificate (DER) whose key in the table is `key`; waits bounded."""
        status = await self._checker.check(key, certificate)
        if isinstance(status, UndeterminedStatus):
            # Whoever is refused is told nothing, so an operator must be.
            _log.warning(
                "OCSP at %s: %s%s",
                self._responder,
                status.flaw.value,
                f": {status.detail}" if status.detail else "",
                extra={"subject": f"OCSP at {self._responder}"},
            )
        return status

    def forget(self, keys: Iterable[bytes]) -> None:
        """Forget certificates that were revoked on this machine."""
        self._checker.forget(keys)

    async def close(self) -> None:
        """Close, once nobody can wait for an answer any more."""
        await trio.sleep(limits.ocsp_seconds_max)
        await self._fetcher.close()


def _files(ca: CAConfig, responder: ResponderConfig) -> tuple[object, ...]:
    """All that one is made of; a file that cannot be read is like no other, and never the same."""
    paths = (ca.issuing, ca.root, responder.certificate, responder.key)
    return responder, *(_digest(path) for path in paths if path is not None)


def _digest(path: Path) -> object:
    try:
        return path, blake2b(path.read_bytes()).digest()
    except OSError:
        return object()
