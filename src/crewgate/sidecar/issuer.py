"""Signs the certificates of one orchestrator under `crewgate run`, from a CSR.

A request goes in and a chain comes out, so that a private key never leaves its process.
"""

from datetime import UTC, datetime

import trio

from crewgate.ca.authority import Authority, read_request
from crewgate.config import CAConfig
from crewgate.core.x509.identity_extension import Identity


class LocalCAIssuer:
    """Signs for `identity` with the CA's key on this machine, read anew for each certificate."""

    def __init__(self, ca: CAConfig, identity: Identity, life_seconds: int | None = None) -> None:
        self._ca = ca
        self._identity = identity
        self._life_seconds = life_seconds

    async def issue(self, request: bytes) -> bytes:
        """Return PEM: a certificate for the key of a CSR (PEM), then its chain up to the root.

        Raises AuthorityError.
        """
        return await trio.to_thread.run_sync(self._issue, request)

    def _issue(self, request: bytes) -> bytes:
        public = read_request(request)
        with Authority(self._ca) as authority:
            now = datetime.now(UTC)
            entry = authority.issue(self._identity, public, now, life_seconds=self._life_seconds)
            return authority.chain(entry)
