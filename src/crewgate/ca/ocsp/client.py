"""Gets the status of certificates from their issuer's OCSP responder, with a deadline and a cache.

Concurrent checks of one certificate share one request. A cached status ends when the response
expires, after `limits.ocsp_cached_seconds_max`, or when this machine revokes the certificate,
whichever is first. The caller supplies the transport, and decides what an `UndeterminedStatus`
means.
"""

import secrets
import time
from collections.abc import Awaitable, Callable, Iterable

import msgspec
import trio
from cryptography import x509

from crewgate import limits
from crewgate.ca.certificates import is_issued
from crewgate.ca.ocsp.verify import ExpectedResponse, OCSPIssuer, verify
from crewgate.core.x509.ocsp_result import (
    CertificateStatus,
    GoodStatus,
    RevokedStatus,
    UndeterminedReason,
    UndeterminedStatus,
)
from crewgate.errors import OCSPQueryError

Fetch = Callable[[bytes], Awaitable[bytes]]
_TIMED_OUT = UndeterminedStatus(
    UndeterminedReason.TIMEOUT, f"no response within {limits.ocsp_seconds_max:g} s"
)


class _Cached(msgspec.Struct, frozen=True):
    """A cached status; it ends at `expires` (Trio's clock) or `until` (wall clock), if earlier."""

    certificate: bytes
    status: CertificateStatus
    expires: float
    until: float


class _Query:
    """A request in progress. `status` is its result: None until then, or if it was cancelled.

    `is_stale`: this machine has revoked the certificate since, so the result is not cached.
    """

    __slots__ = ("certificate", "done", "is_stale", "status")

    def __init__(self, certificate: bytes) -> None:
        self.certificate = certificate
        self.done = trio.Event()
        self.status: CertificateStatus | None = None
        self.is_stale = False


class OCSPClient:
    """Checks certificates of one issuer with the responder that `fetch` reaches.

    `fetch` takes a request and returns the response, both DER, or raises OCSPQueryError. If
    `is_authentic` is set, the transport authenticates the responder, so a response may lack the
    nonce.
    """

    def __init__(
        self,
        issuer: OCSPIssuer,
        fetch: Fetch,
        *,
        is_authentic: bool = False,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._issuer = issuer
        self._fetch = fetch
        self._is_authentic = is_authentic
        self._wall = wall
        self._limiter = trio.CapacityLimiter(limits.ocsp_queries_max)
        self._queries: dict[bytes, _Query] = {}
        self._cached: dict[bytes, _Cached] = {}

    async def check(self, key: bytes, certificate: bytes) -> CertificateStatus:
        """Return the status of `certificate` (DER, whose key a TLS handshake has proved).

        `key` is its table key, for `forget`. Waits at most `limits.ocsp_seconds_max`.
        """
        cached = self._find(key, certificate)
        return await self._share_query(key, certificate) if cached is None else cached

    def forget(self, keys: Iterable[bytes]) -> None:
        """Drop cached statuses; the results of requests in progress are not cached either."""
        for key in keys:
            self._cached.pop(key, None)
            query = self._queries.pop(key, None)
            if query is not None:
                query.is_stale = True

    def _find(self, key: bytes, certificate: bytes) -> CertificateStatus | None:
        found = self._cached.get(key)
        if found is None:
            return None
        if trio.current_time() >= found.expires or self._wall() >= found.until:
            del self._cached[key]
            return None
        return found.status if found.certificate == certificate else None

    def _store(self, key: bytes, certificate: bytes, status: CertificateStatus) -> None:
        """Cache a status until the response expires; an undetermined one only for a moment."""
        now, left = self._wall(), limits.ocsp_doubt_seconds
        if isinstance(status, GoodStatus | RevokedStatus):
            left = min(status.until - now, limits.ocsp_cached_seconds_max)
        self._cached.pop(key, None)
        if left <= 0:
            return
        if len(self._cached) >= limits.ocsp_cached_max:
            # The first key of a dict is the oldest one.
            del self._cached[next(iter(self._cached))]
        self._cached[key] = _Cached(certificate, status, trio.current_time() + left, now + left)

    async def _share_query(self, key: bytes, certificate: bytes) -> CertificateStatus:
        """Wait for a request in progress, or send one; if the other is cancelled, send our own."""
        deadline = trio.current_time() + limits.ocsp_seconds_max
        while True:
            query = self._queries.get(key)
            if query is None or query.certificate != certificate:
                return await self._lead(key, _Query(certificate), deadline)
            with trio.move_on_at(deadline):
                await query.done.wait()
            if query.status is not None:
                return query.status
            if trio.current_time() >= deadline:
                return _TIMED_OUT

    async def _lead(self, key: bytes, query: _Query, deadline: float) -> CertificateStatus:
        """Send the request for all that wait; if this task is cancelled, they get no status."""
        self._queries[key] = query
        status: CertificateStatus = _TIMED_OUT
        try:
            with trio.move_on_at(deadline):
                status = await self._request(query.certificate)
            query.status = status
            if not query.is_stale:
                self._store(key, query.certificate, status)
            return status
        finally:
            if self._queries.get(key) is query:
                del self._queries[key]
            query.done.set()

    async def _request(self, certificate: bytes) -> CertificateStatus:
        reason = UndeterminedReason.OTHER_ISSUER
        try:
            leaf = x509.load_der_x509_certificate(certificate)
        except ValueError:
            return UndeterminedStatus(reason, "the certificate cannot be read")
        if not is_issued(leaf, self._issuer.certificate):
            return UndeterminedStatus(reason, f"not issued by {self._issuer!r}")
        nonce = secrets.token_bytes(limits.ocsp_nonce_bytes)
        try:
            async with self._limiter:
                response = await self._fetch(self._issuer.request(leaf, nonce))
        except OCSPQueryError as error:
            return UndeterminedStatus(UndeterminedReason.UNREACHABLE, str(error))
        expected = ExpectedResponse(leaf, self._wall(), nonce, self._is_authentic)
        return verify(response, self._issuer, expected)
