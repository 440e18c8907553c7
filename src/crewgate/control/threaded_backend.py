"""Implements the operations behind the control API: asks the agent, uses the CA, signs tokens.

All blocking work runs in threads, and each sort of work has its own limiter: clients that flood one
sort delay no other. Revocations do not wait behind queries, and this machine's workers get OCSP
answers without waiting behind clients of the API. A new configuration replaces the active one
between two pieces of work of each sort, so that no request fails because of it.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from functools import partial
from typing import Concatenate, Generic, NamedTuple, ParamSpec, Self, TypeVar

import msgspec
import trio
from cryptography import x509

from crewgate import limits
from crewgate.api.backend import CertificateRequest, IssuedCertificateOwner, TokenRequest
from crewgate.api.branch_tree_snapshot import BranchTreeSnapshot
from crewgate.api.health_response import health_response
from crewgate.api.schemas import (
    CertificateResponse,
    HealthResponse,
    IntrospectionResponse,
    MachinesResponse,
    RevocationResponse,
    RevocationsResponse,
    TokenResponse,
)
from crewgate.ca.certificate_db import CertificateDB, CertificateRecord
from crewgate.ca.ocsp.responder import Responder
from crewgate.config import CAConfig, Config
from crewgate.control import cluster_audit
from crewgate.control.agent_cache import AgentCache
from crewgate.control.ca_service import CAService, check_good
from crewgate.control.register_upkeep import RegisterState, keep_up
from crewgate.control.responses import machines, revocations, revoked
from crewgate.control.token_reader import TokenReader
from crewgate.control.token_revocation_check import TokenRevocationCheck
from crewgate.control.token_service import TokenService, introspection
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.errors import CAError, ServiceConnectionError
from crewgate.identity_provider.subject_tokens import SubjectTokenVerifier
from crewgate.ipc.admin_client import AdminClient
from crewgate.ipc.admin_messages import RevocationReceipt, Until
from crewgate.ipc.machine_messages import THIS_MACHINE
from crewgate.runtime.single_flight_cache import SingleFlightCache

T = TypeVar("T")
W = TypeVar("W")
P = ParamSpec("P")


class _Worker(Generic[W]):
    """Runs the work of one sort in a thread, one piece at a time, on the newest `resource`."""

    def __init__(self, resource: W) -> None:
        self.resource = resource
        self._limiter = trio.CapacityLimiter(1)

    async def run(
        self, work: Callable[Concatenate[W, P], T], *arguments: P.args, **options: P.kwargs
    ) -> T:
        """Call `work` with the resource and the other arguments."""

        def call() -> T:
            # `swap` may run before the thread starts: read the attribute here, not earlier.
            return work(self.resource, *arguments, **options)

        return await trio.to_thread.run_sync(call, limiter=self._limiter)

    async def swap(self, resource: W) -> W:
        """Use another resource from now on; return the old one, which no work uses any more."""
        async with self._limiter:
            old, self.resource = self.resource, resource
        return old


class _OCSPResponder(NamedTuple):
    register: CertificateDB
    responder: Responder

    def answer(self, request: bytes) -> bytes:
        """Return the response to a request, both DER."""
        return self.responder.answer(request, datetime.now(UTC))

    def answer_path(self, tail: str) -> bytes:
        """Return the response to the path of a GET request, in DER."""
        return self.responder.answer_path(tail, datetime.now(UTC))


class _Resources(NamedTuple):
    reader: TokenReader
    ca_service: CAService
    register: CertificateDB
    verifier: SubjectTokenVerifier
    tokens: TokenService
    api_ocsp: _OCSPResponder
    local_ocsp: _OCSPResponder

    @classmethod
    def open(
        cls, config: Config, ca: CAConfig, cache: AgentCache, table: TokenRevocationCheck
    ) -> Self:
        """Open all of them, or none. Blocks. Raises CAError or ConfigurationError."""
        with ExitStack() as stack:
            crews = {crew.name for crew in config.crews}
            ca_service = stack.enter_context(closing(CAService(ca, config.state, crews)))
            registers = [stack.enter_context(CertificateDB(ca.register)) for _ in range(3)]
            responders = [
                _OCSPResponder(each, Responder(ca_service.authority.issuing, each))
                for each in registers[1:]
            ]
            tokens = stack.enter_context(closing(TokenService(config, cache, table)))
            verifier = SubjectTokenVerifier(config.identity_providers)
            reader = TokenReader(config)
            found = cls(reader, ca_service, registers[0], verifier, tokens, *responders)
            stack.pop_all()
        return found


class ThreadedBackend:
    """Implements `api.backend.Backend` for one configuration.

    Any thread may construct and close it; only the event loop may call the other methods.
    """

    def __init__(self, config: Config, ca: CAConfig) -> None:
        """Open the CA and read the crews' keys. Raises CAError or ConfigurationError."""
        self._state = config.state
        self._cache = AgentCache(config.state)
        self._table_view = TokenRevocationCheck(config.state)
        resources = _Resources.open(config, ca, self._cache, self._table_view)
        self.ca = ca
        self._reader = _Worker(resources.reader)
        self._ca_service = _Worker(resources.ca_service)
        self._register = _Worker(resources.register)
        self._tokens = _Worker(resources.tokens)
        self._verifier = _Worker(resources.verifier)
        self._api_ocsp = _Worker(resources.api_ocsp)
        self._local_ocsp = _Worker(resources.local_ocsp)
        self._agent_limiter = trio.CapacityLimiter(limits.control_threads_max)
        self._audit_limiter = trio.CapacityLimiter(limits.member_audits_at_once)
        self._revocation_limiter = trio.CapacityLimiter(limits.control_threads_max)

    async def load(self, config: Config, ca: CAConfig) -> None:
        """Use another configuration with the same `state`.

        If this raises CAError or ConfigurationError, the previous one stays active.
        """
        new = await trio.to_thread.run_sync(
            _Resources.open, config, ca, self._cache, self._table_view
        )
        await self._reader.swap(new.reader)
        # New work of a sort begins only at the next `await`, when the old resource is closed.
        old = await self._ca_service.swap(new.ca_service)
        old.held.hand_to(new.ca_service.held)
        old.close()
        (await self._register.swap(new.register)).close()
        await self._verifier.swap(new.verifier)
        (await self._tokens.swap(new.tokens)).close()
        (await self._api_ocsp.swap(new.api_ocsp)).register.close()
        (await self._local_ocsp.swap(new.local_ocsp)).register.close()
        self.ca = ca

    def close(self) -> None:
        """Close the journals, the table, the register and the CA."""
        self._tokens.resource.close()
        self._table_view.close()
        self._local_ocsp.resource.register.close()
        self._api_ocsp.resource.register.close()
        self._register.resource.close()
        self._ca_service.resource.close()

    async def revoke(
        self, target: RevocationTarget, until: Until, by: str, reason: str = ""
    ) -> RevocationResponse:
        """See `Backend`."""

        def revoke() -> RevocationReceipt:
            with AdminClient(self._state) as agent:
                return agent.revoke([target], until, by, reason)

        receipt = await trio.to_thread.run_sync(revoke, limiter=self._revocation_limiter)
        (done,) = receipt.targets
        return revoked(done, receipt)

    async def revoke_certificate(self, serial: str, reason: str, by: str) -> RevocationResponse:
        """See `Backend`."""
        return await self._ca_service.run(CAService.revoke_certificate, serial, reason, by)

    async def revoke_orchestrator(
        self, crew: str, name: str, reason: str, by: str
    ) -> RevocationResponse:
        """See `Backend`."""
        return await self._ca_service.run(CAService.revoke_orchestrator, crew, name, reason, by)

    async def keep_up(self, patience: float = 0.0) -> RegisterState:
        """See `register_upkeep`."""
        return await self._ca_service.run(keep_up, patience)

    @property
    def unwritten_reason(self) -> str:
        """Why the register lacks revocations that are in force; empty if it lacks none."""
        return self._ca_service.resource.unwritten_reason

    async def publish(self) -> None:
        """Sign a new CRL; CAError."""
        await self._ca_service.run(CAService.publish)

    async def check(self, serial: str) -> None:
        """See `Backend`."""
        check_good(await self.entry(serial), time.time())

    async def holder(self, serial: str) -> IssuedCertificateOwner | None:
        """See `Backend`."""
        entry = await self.entry(serial)
        return None if entry is None else IssuedCertificateOwner(entry.crew, entry.name)

    async def knows(self, crew: str, name: str) -> bool:
        """See `Backend`."""
        return bool(await self._register.run(CertificateDB.issued_since, crew, name, 0))

    async def entry(self, serial: str) -> CertificateRecord | None:
        """Return the register's record of a certificate, None if there is none; CAError."""
        return await self._register.run(CertificateDB.find, serial)

    async def dead(self) -> list[CertificateRecord]:
        """Return every revoked certificate that has not expired."""
        return await self._register.run(CertificateDB.dead_entries, int(time.time()))

    async def tree(self, machine: str = "") -> BranchTreeSnapshot:
        """See `Backend`."""
        if machine in {"", THIS_MACHINE}:
            return await self._cached(self._cache.tree if machine else self._cache.cluster_tree)
        ask = partial(self._cache.tree_of, machine)
        return await trio.to_thread.run_sync(ask, limiter=self._agent_limiter)

    async def audit(self, query: Mapping[str, str]) -> bytes:
        """See `Backend`."""
        return await trio.to_thread.run_sync(
            cluster_audit.read, self._state, query, limiter=self._audit_limiter
        )

    async def machines(self, machine: str = "") -> MachinesResponse:
        """See `Backend`."""

        def ask() -> MachinesResponse:
            with AdminClient(self._state) as agent:
                return machines(agent.cluster_status(machine))

        return await trio.to_thread.run_sync(ask, limiter=self._agent_limiter)

    async def revocations(self, crew: str, rows_max: int, machine: str = "") -> RevocationsResponse:
        """See `Backend`."""

        def ask() -> RevocationsResponse:
            with AdminClient(self._state) as agent:
                return revocations(agent.cluster_revocations(crew, rows_max, machine))

        return await trio.to_thread.run_sync(ask, limiter=self._agent_limiter)

    async def health(self) -> HealthResponse:
        """See `Backend`."""
        try:
            status = await self._cached(self._cache.status)
        except ServiceConnectionError:
            return HealthResponse(status="waiting", waiting_for=["the agent to answer"])
        return health_response(status)

    async def introspect(self, token: str) -> IntrospectionResponse:
        """See `Backend`; ServiceConnectionError while the table cannot show what is revoked."""

        def read(reader: TokenReader) -> IntrospectionResponse:
            found = reader.read(token)
            if found is None or self._table_view.is_dead(*found):
                return IntrospectionResponse(active=False)
            claims, _ = found
            return introspection(claims, reader.sponsor_of(claims.crew))

        return await self._reader.run(read)

    def claims_known_provider(self, token: str) -> bool:
        """See `Backend`."""
        return self._verifier.resource.claims_known_provider(token)

    async def identity_provider_problems(self) -> dict[str, str]:
        """Get new keys of identity providers; return what is wrong with each, by name."""
        return await self._verifier.run(SubjectTokenVerifier.refresh)

    async def start_run(self, crew: str, name: str, grant: TokenRequest) -> TokenResponse:
        """See `Backend`. While a provider does not answer, it delays no other work than this."""
        if grant.subject_token is not None:
            token, now = grant.subject_token, time.time()
            subject = await self._verifier.run(SubjectTokenVerifier.verify, token, crew, now)
            grant = msgspec.structs.replace(grant, subject=subject, subject_token=None)
        return await self._tokens.run(TokenService.start_run, crew, name, grant)

    async def spawn(self, crew: str, name: str, parent: str, grant: TokenRequest) -> TokenResponse:
        """See `Backend`."""
        return await self._tokens.run(TokenService.spawn, crew, name, parent, grant)

    async def refresh(self, crew: str, name: str, token: str, grant: TokenRequest) -> TokenResponse:
        """See `Backend`."""
        return await self._tokens.run(TokenService.refresh, crew, name, token, grant)

    async def certify(self, request: CertificateRequest) -> CertificateResponse:
        """See `Backend`."""
        return await self._ca_service.run(CAService.certify, request)

    async def certify_server(self, request: str, before: str, by: str) -> CertificateResponse:
        """See `Backend`."""
        return await self._ca_service.run(CAService.certify_server, request, before, by)

    async def next_chain(self, leaf: x509.Certificate) -> bytes:
        """See `CAService.next_chain`."""
        return await self._ca_service.run(CAService.next_chain, leaf)

    async def ocsp(self, request: bytes) -> bytes:
        """See `Backend`."""
        return await self._api_ocsp.run(_OCSPResponder.answer, request)

    async def ocsp_path(self, tail: str) -> bytes:
        """See `Backend`."""
        return await self._api_ocsp.run(_OCSPResponder.answer_path, tail)

    async def local_ocsp(self, request: bytes) -> bytes:
        """Return the response to a request of this machine's workers, both DER."""
        return await self._local_ocsp.run(_OCSPResponder.answer, request)

    async def crl(self) -> bytes:
        """See `Backend`."""
        try:
            return await trio.Path(self.ca.crl).read_bytes()
        except OSError as error:
            raise CAError(f"{self.ca.crl}: cannot be read ({error.strerror})") from error

    async def _cached(self, cache: SingleFlightCache[T]) -> T:
        fresh = cache.fresh()
        if fresh is not None:
            return fresh
        return await trio.to_thread.run_sync(cache.get, limiter=self._agent_limiter)
