"""The work behind the control API: the agent asked, the CA used, tokens signed; see `api/backend`.

Everything blocking is done in threads, and each sort of work has its own: whoever floods one waits
there and keeps nobody else. Revocations wait behind no question, and the workers' OCSP behind no
client of the API. Another configuration takes the place of the one before between two pieces of
each sort of work, so that no request fails for it.
"""

import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from typing import Concatenate, NamedTuple, ParamSpec, Self, TypeVar

import trio
from cryptography import x509

from crewgate import limits
from crewgate.api.backend import CertificateRequest, IssuedCertificateOwner, TokenRequest
from crewgate.api.branch_tree_snapshot import BranchTreeSnapshot
from crewgate.api.schemas import (
    CertificateResponse,
    HealthResponse,
    IntrospectionResponse,
    RevocationResponse,
    TokenResponse,
)
from crewgate.ca.certificate_db import CertificateDB, CertificateRecord
from crewgate.ca.ocsp.responder import Responder
from crewgate.config import CAConfig, Config
from crewgate.control.agent_cache import AgentCache, SingleFlightCache
from crewgate.control.ca_service import CAService, check_good
from crewgate.control.responses import health, revoked
from crewgate.control.table_view import TableView
from crewgate.control.token_reader import TokenReader
from crewgate.control.token_service import TokenService, introspection
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.errors import AuthorityError, LinkError
from crewgate.ipc.admin_client import AdminClient
from crewgate.ipc.admin_messages import RevocationReceipt, Until

T = TypeVar("T")
P = ParamSpec("P")


class _Answers(NamedTuple):
    """A responder of OCSP, and the connection to the register that it alone uses."""

    register: CertificateDB
    responder: Responder


class _Tools(NamedTuple):
    """What one configuration is worked with."""

    ca: CAConfig
    reader: TokenReader
    ca_service: CAService
    register: CertificateDB
    mint: TokenService
    api: _Answers
    ocsp_socket: _Answers

    @classmethod
    def open(
        cls,
        config: Config,
        ca: CAConfig,
        graph: AgentCache,
        table_view: TableView,
    ) -> Self:
        """All of them, or none: AuthorityError, ConfigurationError. Blocks."""
        with ExitStack() as stack:
            crews = {crew.name for crew in config.crews}
            ca_service = stack.enter_context(closing(CAService(ca, config.state, crews)))
            registers = [stack.enter_context(CertificateDB(ca.register)) for _ in range(3)]
            answers = [
                _Answers(each, Responder(ca_service.authority.issuing, each))
                for each in registers[1:]
            ]
            mint = stack.enter_context(closing(TokenService(config, graph, table_view)))
            tools = cls(ca, TokenReader(config), ca_service, registers[0], mint, *answers)
            stack.pop_all()
        return tools


class ControlBackend:
    """Is the `Office` of one configuration. Made and closed in any thread, used in the loop."""

    def __init__(self, config: Config, ca: CAConfig) -> None:
        """Open the CA and read the crews' keys; AuthorityError, ConfigurationError."""
        self._state = config.state
        self._graph = AgentCache(config.state)
        self._table_view = TableView(config.state)
        tools = _Tools.open(config, ca, self._graph, self._table_view)
        self._ca = ca
        self._reader, self._desk = tools.reader, tools.ca_service
        self._register, self._mint = tools.register, tools.mint
        self._counter = OCSPWorker(tools.api)
        self.ocsp_socket = OCSPWorker(
            tools.ocsp_socket
        )  # of the unix socket, for this machine's workers
        self._asking = trio.CapacityLimiter(limits.control_threads_max)
        self._revoking = trio.CapacityLimiter(limits.control_threads_max)
        self._signing = trio.CapacityLimiter(1)
        self._looking = trio.CapacityLimiter(1)
        self._minting = trio.CapacityLimiter(1)
        self._reading = trio.CapacityLimiter(1)

    async def load(self, config: Config, ca: CAConfig) -> None:
        """Work by another configuration of the same `state`.

        AuthorityError, ConfigurationError: then the one before stays.
        """
        new = await trio.to_thread.run_sync(_Tools.open, config, ca, self._graph, self._table_view)
        self._ca = ca
        async with self._reading:
            self._reader = new.reader
        async with self._signing:
            ca_service, self._desk = self._desk, new.ca_service
            ca_service.held.hand_to(self._desk.held)
            ca_service.close()
        async with self._looking:
            register, self._register = self._register, new.register
            register.close()
        async with self._minting:
            mint, self._mint = self._mint, new.mint
            mint.close()
        await self._counter.load(new.api)
        await self.ocsp_socket.load(new.ocsp_socket)

    def close(self) -> None:
        """Let everything go."""
        self._mint.close()
        self._table_view.close()
        self.ocsp_socket.close()
        self._counter.close()
        self._register.close()
        self._desk.close()

    # Revocations.

    async def revoke(self, target: RevocationTarget, until: Until) -> RevocationResponse:
        """See `Office`."""

        def revoke() -> RevocationReceipt:
            with AdminClient(self._state) as owner:
                return owner.revoke([target], until)

        receipt = await trio.to_thread.run_sync(revoke, limiter=self._revoking)
        (done,) = receipt.targets
        return revoked(done, receipt)

    async def revoke_certificate(self, serial: str, reason: str) -> RevocationResponse:
        """See `Office`."""
        return await self._sign(CAService.revoke_certificate, serial, reason)

    async def revoke_orchestrator(self, crew: str, name: str, reason: str) -> RevocationResponse:
        """See `Office`."""
        return await self._sign(CAService.revoke_orchestrator, crew, name, reason)

    async def complete(self, patience: float = 0.0) -> None:
        """See `CAService.complete`; LinkError while the agent is away, AuthorityError."""
        await self._sign(CAService.complete, patience)

    @property
    def unwritten_reason(self) -> str:
        """Why the CA's books lack what is in force; "" if they do not."""
        return self._desk.unwritten_reason

    async def publish(self) -> None:
        """Sign the list of revoked certificates anew; AuthorityError."""
        await self._sign(CAService.publish)

    async def catch_up(self) -> None:
        """The same if the list lacks a revocation; AuthorityError."""
        await self._sign(CAService.catch_up)

    # What there is.

    async def check(self, serial: str) -> None:
        """See `Office`."""
        check_good(await self.entry(serial), time.time())

    async def holder(self, serial: str) -> IssuedCertificateOwner | None:
        """See `Office`."""
        entry = await self.entry(serial)
        return None if entry is None else IssuedCertificateOwner(entry.crew, entry.name)

    async def knows(self, crew: str, name: str) -> bool:
        """See `Office`."""
        return bool(await self._read_register(CertificateDB.issued_since, crew, name, 0))

    async def entry(self, serial: str) -> CertificateRecord | None:
        """What the register has of a certificate; AuthorityError."""
        return await self._read_register(CertificateDB.find, serial)

    async def dead(self) -> list[CertificateRecord]:
        """Every revoked certificate that would still be valid by its dates."""
        return await self._read_register(CertificateDB.dead_entries, int(time.time()))

    async def tree(self) -> BranchTreeSnapshot:
        """See `Office`."""
        return await self._shared(self._graph.tree)

    async def health(self) -> HealthResponse:
        """See `Office`."""
        try:
            status = await self._shared(self._graph.status)
        except LinkError:
            return HealthResponse(status="waiting", waiting_for=["the agent to answer"])
        return health(status)

    async def introspect(self, token: str) -> IntrospectionResponse:
        """See `Office`; LinkError while nobody can say what is revoked."""

        def read() -> IntrospectionResponse:
            found = self._reader.read(token)
            if found is None or self._table_view.is_dead(*found):
                return IntrospectionResponse(active=False)
            return introspection(found[0])

        return await trio.to_thread.run_sync(read, limiter=self._reading)

    # Tokens.

    async def start_run(self, crew: str, name: str, grant: TokenRequest) -> TokenResponse:
        """See `Office`."""
        return await self._issue(TokenService.start_run, crew, name, grant)

    async def spawn(self, crew: str, name: str, parent: str, grant: TokenRequest) -> TokenResponse:
        """See `Office`."""
        return await self._issue(TokenService.spawn, crew, name, parent, grant)

    async def refresh(self, crew: str, name: str, token: str, grant: TokenRequest) -> TokenResponse:
        """See `Office`."""
        return await self._issue(TokenService.refresh, crew, name, token, grant)

    # Certificates.

    async def certify(self, request: CertificateRequest) -> CertificateResponse:
        """See `Office`."""
        return await self._sign(CAService.certify, request)

    async def certify_server(self, request: str, before: str, by: str) -> CertificateResponse:
        """See `Office`."""
        return await self._sign(CAService.certify_server, request, before, by)

    async def next_chain(self, leaf: x509.Certificate) -> bytes:
        """PEM of the next certificate after one whose key is here; AuthorityError."""
        return await self._sign(CAService.next_chain, leaf)

    async def ocsp(self, request: bytes) -> bytes:
        """See `Office`."""
        return await self._counter.answer(request)

    async def ocsp_path(self, tail: str) -> bytes:
        """See `Office`."""
        return await self._counter.answer_path(tail)

    async def crl(self) -> bytes:
        """See `Office`."""
        try:
            return await trio.Path(self._ca.crl).read_bytes()
        except OSError as error:
            raise AuthorityError(f"{self._ca.crl}: cannot be read ({error.strerror})") from error

    async def _shared(self, what: SingleFlightCache[T]) -> T:
        fresh = what.fresh()
        if fresh is not None:
            return fresh
        return await trio.to_thread.run_sync(what.get, limiter=self._asking)

    # Which desk, register or mint is meant is decided once it is its turn: `load` may come first.

    async def _sign(
        self, work: Callable[Concatenate[CAService, P], T], *with_: P.args, **more: P.kwargs
    ) -> T:
        def sign() -> T:
            return work(self._desk, *with_, **more)

        return await trio.to_thread.run_sync(sign, limiter=self._signing)

    async def _read_register(
        self, work: Callable[Concatenate[CertificateDB, P], T], *with_: P.args, **more: P.kwargs
    ) -> T:
        def read_register() -> T:
            return work(self._register, *with_, **more)

        return await trio.to_thread.run_sync(read_register, limiter=self._looking)

    async def _issue(
        self, work: Callable[Concatenate[TokenService, P], T], *with_: P.args, **more: P.kwargs
    ) -> T:
        def issue() -> T:
            return work(self._mint, *with_, **more)

        return await trio.to_thread.run_sync(issue, limiter=self._minting)


class OCSPWorker:
    """Answers OCSP in a thread of its own, from a register and with a delegate of its own."""

    def __init__(self, answers: _Answers) -> None:
        self._answers = answers
        self._turn = trio.CapacityLimiter(1)

    async def load(self, answers: _Answers) -> None:
        """Answer from others from now on."""
        async with self._turn:
            before, self._answers = self._answers, answers
            before.register.close()

    def close(self) -> None:
        """Let the register go."""
        self._answers.register.close()

    async def answer(self, request: bytes) -> bytes:
        """The response to a request, both DER."""
        return await self._ask(Responder.answer, request)

    async def answer_path(self, tail: str) -> bytes:
        """The same for a GET."""
        return await self._ask(Responder.answer_path, tail)

    async def _ask(self, ask: Callable[[Responder, T, datetime], bytes], what: T) -> bytes:
        def answer() -> bytes:
            return ask(self._answers.responder, what, datetime.now(UTC))

        return await trio.to_thread.run_sync(answer, limiter=self._turn)
