"""Holds an orchestrator's private key and certificate, and renews both at about half of their life.

This process makes the key, and the key never leaves its memory: OpenSSL gets it through a pipe,
which is kernel memory that is never written to a disk. Each certificate has a new key. Connections
that were opened with a previous certificate stay open.
"""

import logging
import os
import random
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import trio
from cryptography import x509

from crewgate import limits
from crewgate.ca.authority import Authority, read_request, request_pem
from crewgate.ca.certificates import new_key
from crewgate.ca.key_files import key_pem
from crewgate.config import CAConfig
from crewgate.core.x509.identity_extension import Identity
from crewgate.errors import CAError
from crewgate.issuer.control_api.gateway_address import GatewayAddress
from crewgate.runtime.cleanup import lent

_log = logging.getLogger(__name__)


class Credential:
    """A certificate, its key inside OpenSSL, and when it ends (seconds since the epoch)."""

    def __init__(self, chain: bytes, key: bytes, gateway: GatewayAddress) -> None:
        """Load PEM; CAError if chain and key do not belong together."""
        try:
            leaf = x509.load_pem_x509_certificates(chain)[0]
            self.context = gateway.context()
            with _readable(chain) as certificate, _readable(key) as private:
                self.context.load_cert_chain(certificate, private)
        except (ValueError, OSError) as error:  # ssl.SSLError is an OSError
            raise CAError(f"the certificate from the CA cannot be used: {error}") from error
        self.ends = leaf.not_valid_after_utc.timestamp()
        self.serial = f"{leaf.serial_number:X}"


def renewal(obtained: float, ends: float, chance: float) -> float:
    """Return when to renew a certificate: at half of its remaining life, plus or minus a tenth.

    `chance` is uniform in [0, 1); times are seconds since the epoch. There is a minimum wait: the
    certificates of a CA that is about to end have less and less time left.
    """
    spread = 1 + limits.run_renewal_spread * (2 * chance - 1)
    wait = (ends - obtained) * limits.run_renewal_share * spread
    return obtained + max(wait, limits.run_renewal_seconds_min)


def issue(ca: CAConfig, identity: Identity, life_seconds: int | None, request: bytes) -> bytes:
    """Sign a CSR with the CA's key on this machine, which this reads anew each time.

    Return the certificate and its chain up to the root, all PEM. Blocks. CAError.
    """
    public = read_request(request)
    with Authority(ca) as authority:
        entry = authority.issue(identity, public, datetime.now(UTC), life_seconds=life_seconds)
        return authority.chain(entry)


class RenewingCredential:
    """The credential that new connections use. `sign` returns a chain for a CSR, as `issue`.

    `on_renewal` gets the TLS context of each new certificate.
    """

    def __init__(self, sign: Callable[[bytes], bytes], gateway: GatewayAddress) -> None:
        self.on_renewal: Callable[[ssl.SSLContext], None] = lambda _: None
        self._sign = sign
        self._gateway = gateway
        self._present: Credential | None = None
        self._due = 0.0

    @property
    def present(self) -> Credential:
        """The newest credential; call `obtain` first."""
        if self._present is None:
            raise AssertionError("the local socket opens after the first certificate")
        return self._present

    async def obtain(self) -> None:
        """Get a certificate for a new key, and use both from now on; CAError."""
        key = new_key()
        chain = await trio.to_thread.run_sync(self._sign, request_pem(key))
        self._present = Credential(chain, key_pem(key), self._gateway)
        self.on_renewal(self._present.context)
        now = time.time()
        self._due = renewal(now, self._present.ends, random.random())  # noqa: S311 - no secret
        left = self._due - now
        _log.info("certificate %s; the next renewal is in %.0f s", self._present.serial, left)

    async def renew_for_ever(self) -> None:
        """Renew whenever it is due, and try again when that fails, until cancelled."""
        while True:
            while (left := self._due - time.time()) > 0:  # noqa: ASYNC110 - a clock sets no event
                await trio.sleep(min(left, limits.run_wait_seconds_max))
            try:
                await self.obtain()
            except CAError as error:
                left = max(0.0, self.present.ends - time.time())
                _log.warning("the certificate ends in %.0f s; renewal failed: %s", left, error)
                await trio.sleep(limits.run_retry_seconds)


@contextmanager
def _readable(data: bytes) -> Iterator[str]:
    """Yield a path from which `data` can be read once without a file: `ssl` takes only paths."""
    reading, writing = os.pipe()
    with lent(reading):
        with lent(writing):
            # A few KiB; a pipe holds 64.
            os.write(writing, data)
        yield f"/proc/self/fd/{reading}"
