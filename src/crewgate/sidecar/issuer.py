"""Who signs the certificates of an orchestrator under `crewgate run`: one small protocol.

A request goes in and a chain comes out, so that a private key never leaves its process, and so that
the control API can take the place of the CA's files. Decides no right: whom a certificate speaks
for is the signer's to say.
"""

from datetime import UTC, datetime
from typing import Protocol

import trio

from crewgate.ca.authority import Authority, read_request
from crewgate.config import CAConfig
from crewgate.core.x509.identity_extension import Identity


class CertificateIssuer(Protocol):
    """Whoever certifies the keys of one orchestrator."""

    async def issue(self, request: bytes) -> bytes:
        """PEM of a certificate for the key of a CSR (PEM), then of what leads to the root.

        AuthorityError if there is none to be had, now or for ever.
        """


class LocalCAIssuer:
    """The CA by its files: for whoever may read its key on this machine.

    The key is read for each certificate and kept for none.
    """

    def __init__(self, ca: CAConfig, identity: Identity, life_seconds: int | None = None) -> None:
        self._ca = ca
        self._identity = identity
        self._life_seconds = life_seconds

    async def issue(self, request: bytes) -> bytes:
        """As the protocol says."""
        return await trio.to_thread.run_sync(self._issue, request)

    def _issue(self, request: bytes) -> bytes:
        public = read_request(request)
        with Authority(self._ca) as authority:
            now = datetime.now(UTC)
            entry = authority.issue(self._identity, public, now, life_seconds=self._life_seconds)
            return authority.chain(entry)
