"""Asks a certificate's issuer for its status, at once and once: deadline, cache, joint queries.

What is remembered of an answer ends with it, after a bound of its own, or when the certificate is
revoked on this machine, whichever comes first. Knows no transport and no policy: how a request
travels is handed over, and what an `UndeterminedStatus` means is for whoever asks to decide.
"""

import secrets
import time
from collections.abc import Awaitable, Callable, Iterable

import msgspec
import trio
from cryptography import x509

from crewgate import limits
from crewgate.ca.ocsp.verify import ExpectedResponse, OCSPIssuer, verify
from crewgate.core.x509.certificate_status import (
    CertificateStatus,
    GoodStatus,
    RevokedStatus,
    UndeterminedReason,
    UndeterminedStatus,
)
from crewgate.errors import ResponderError

Fetch = Callable[[bytes], Awaitable[bytes]]
_LATE = UndeterminedStatus(
    UndeterminedReason.TIMEOUT, f"no answer within {limits.ocsp_seconds_max:g} s"
)


class _Remembered(msgspec.Struct, frozen=True):
    certificate: bytes
    status: CertificateStatus
    expires: float  # on Trio's clock
    until: float  # on the wall clock


class _Query:
    """A question under way; `status` is its answer, None as long as there is none."""

    __slots__ = ("certificate", "done", "is_void", "status")

    def __init__(self, certificate: bytes) -> None:
        self.certificate = certificate
        self.done = trio.Event()
        self.status: CertificateStatus | None = None
        self.is_void = False  # the certificate was revoked here meanwhile


class OCSPClient:
    """Certificates of one issuer, and the responder that `fetch` reaches.

    `fetch` takes DER of a request and returns that of a response, or raises ResponderError. A
    response without our nonce passes where `is_authentic`: the way there says who answers.
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
        self._turns = trio.CapacityLimiter(limits.ocsp_queries_max)
        self._queries: dict[bytes, _Query] = {}
        self._remembered: dict[bytes, _Remembered] = {}

    def __repr__(self) -> str:
        return f"<OCSPClient {len(self._remembered)} remembered, {len(self._queries)} asked>"

    async def check(
        self, key: bytes, certificate: bytes, staple: bytes | None = None
    ) -> CertificateStatus:
        """The status of `certificate` (DER, as a handshake has proved it).

        `key` is its name in the table, by which it can be forgotten. A staple that settles the
        matter saves the question; one that does not is as none. Waits `limits.ocsp_seconds_max` at
        most.
        """
        found = self._recall(key, certificate)
        if staple is not None and (found is None or isinstance(found, UndeterminedStatus)):
            status = self._judge_staple(certificate, staple)
            if not isinstance(status, UndeterminedStatus):
                self._remember(key, certificate, status)
                return status
        return await self._ask_jointly(key, certificate) if found is None else found

    def forget(self, keys: Iterable[bytes]) -> None:
        """Forget certificates at once; answers that are under way are not remembered either."""
        for key in keys:
            self._remembered.pop(key, None)
            query = self._queries.pop(key, None)
            if query is not None:
                query.is_void = True

    def _recall(self, key: bytes, certificate: bytes) -> CertificateStatus | None:
        found = self._remembered.get(key)
        if found is None:
            return None
        if trio.current_time() >= found.expires or self._wall() >= found.until:
            del self._remembered[key]
            return None
        return found.status if found.certificate == certificate else None

    def _remember(self, key: bytes, certificate: bytes, status: CertificateStatus) -> None:
        """Keep a status for as long as it is good, one that settles nothing for a moment."""
        now, left = self._wall(), limits.ocsp_doubt_seconds
        if isinstance(status, GoodStatus | RevokedStatus):
            left = min(status.until - now, limits.ocsp_cached_seconds_max)
        self._remembered.pop(key, None)
        if left <= 0:
            return
        if len(self._remembered) >= limits.ocsp_cached_max:
            del self._remembered[next(iter(self._remembered))]  # the one that was asked first
        self._remembered[key] = _Remembered(
            certificate, status, trio.current_time() + left, now + left
        )

    async def _ask_jointly(self, key: bytes, certificate: bytes) -> CertificateStatus:
        """Ask, or wait for whoever is asking already; if they are cancelled, ask in their place."""
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
                return _LATE

    async def _lead(self, key: bytes, query: _Query, deadline: float) -> CertificateStatus:
        """Ask for all; a query that is cancelled from outside leaves without an answer."""
        self._queries[key] = query
        status: CertificateStatus = _LATE
        try:
            with trio.move_on_at(deadline):
                status = await self._ask(query.certificate)
            query.status = status
            if not query.is_void:
                self._remember(key, query.certificate, status)
            return status
        finally:
            if self._queries.get(key) is query:
                del self._queries[key]
            query.done.set()

    async def _ask(self, certificate: bytes) -> CertificateStatus:
        leaf = self._read(certificate)
        if isinstance(leaf, UndeterminedStatus):
            return leaf
        nonce = secrets.token_bytes(limits.ocsp_nonce_bytes)
        try:
            async with self._turns:
                response = await self._fetch(self._issuer.request(leaf, nonce))
        except ResponderError as error:
            return UndeterminedStatus(UndeterminedReason.UNREACHABLE, str(error))
        asking = ExpectedResponse(leaf, self._wall(), nonce, self._is_authentic)
        return verify(response, self._issuer, asking)

    def _judge_staple(self, certificate: bytes, staple: bytes) -> CertificateStatus:
        """It was not asked for, so it has no nonce of ours."""
        leaf = self._read(certificate)
        if isinstance(leaf, UndeterminedStatus):
            return leaf
        return verify(staple, self._issuer, ExpectedResponse(leaf, self._wall()))

    def _read(self, certificate: bytes) -> x509.Certificate | UndeterminedStatus:
        try:
            leaf = x509.load_der_x509_certificate(certificate)
        except ValueError:
            return UndeterminedStatus(
                UndeterminedReason.OTHER_ISSUER, "the certificate cannot be read"
            )
        if not self._issuer.issued(leaf):
            return UndeterminedStatus(
                UndeterminedReason.OTHER_ISSUER, f"not issued by {self._issuer!r}"
            )
        return leaf
