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
from crewgate.api.backend import Grant, Holder, Wish
from crewgate.api.schemas import (
    CertificateAnswer,
    Health,
    IntrospectionAnswer,
    RevocationAnswer,
    TokenAnswer,
)
from crewgate.api.snapshot import Snapshot
from crewgate.ca.certificate_db import Entry, Register
from crewgate.ca.ocsp.responder import Responder
from crewgate.config import CA, Config
from crewgate.control.agent_cache import Graph, Shared
from crewgate.control.ca_service import Desk, check_good
from crewgate.control.responses import health
from crewgate.control.table_view import Sight
from crewgate.control.token_reader import Reader
from crewgate.control.token_service import Mint, said
from crewgate.errors import AuthorityError, LinkError
from crewgate.ipc.admin_client import Owner
from crewgate.ipc.admin_messages import Receipt, Target, Until

T = TypeVar("T")
P = ParamSpec("P")


class _Answers(NamedTuple):
    """A responder of OCSP, and the connection to the register that it alone uses."""

    register: Register
    responder: Responder


class _Tools(NamedTuple):
    """What one configuration is worked with."""

    ca: CA
    reader: Reader
    desk: Desk
    register: Register
    mint: Mint
    api: _Answers
    door: _Answers

    @classmethod
    def open(
        cls, config: Config, ca: CA, graph: Graph, sight: Sight, on_error: Callable[[str], None]
    ) -> Self:
        """All of them, or none: AuthorityError, ConfigurationError. Blocks."""
        with ExitStack() as stack:
            crews = {crew.name for crew in config.crews}
            desk = stack.enter_context(closing(Desk(ca, config.state, crews)))
            registers = [stack.enter_context(Register(ca.register)) for _ in range(3)]
            answers = [
                _Answers(each, Responder(desk.authority.issuing, each)) for each in registers[1:]
            ]
            mint = stack.enter_context(closing(Mint(config, graph, sight)))
            tools = cls(ca, Reader(config, on_error), desk, registers[0], mint, *answers)
            stack.pop_all()
        return tools


class ControlOffice:
    """Is the `Office` of one configuration. Made and closed in any thread, used in the loop."""

    def __init__(self, config: Config, ca: CA, on_error: Callable[[str], None]) -> None:
        """Open the CA and read the crews' keys; AuthorityError, ConfigurationError."""
        self._state = config.state
        self._on_error = on_error
        self._graph = Graph(config.state)
        self._sight = Sight(config.state)
        tools = _Tools.open(config, ca, self._graph, self._sight, on_error)
        self._ca = ca
        self._reader, self._desk = tools.reader, tools.desk
        self._register, self._mint = tools.register, tools.mint
        self._counter = Counter(tools.api)
        self.door = Counter(tools.door)  # of the unix socket, for this machine's workers
        self._asking = trio.CapacityLimiter(limits.control_threads_max)
        self._revoking = trio.CapacityLimiter(limits.control_threads_max)
        self._signing = trio.CapacityLimiter(1)
        self._looking = trio.CapacityLimiter(1)
        self._minting = trio.CapacityLimiter(1)
        self._reading = trio.CapacityLimiter(1)

    def __repr__(self) -> str:
        return f"<ControlOffice {self._desk!r} {self._mint!r}>"

    async def load(self, config: Config, ca: CA) -> None:
        """Work by another configuration of the same `state`.

        AuthorityError, ConfigurationError: then the one before stays.
        """
        new = await trio.to_thread.run_sync(
            _Tools.open, config, ca, self._graph, self._sight, self._on_error
        )
        self._ca = ca
        async with self._reading:
            self._reader = new.reader
        async with self._signing:
            desk, self._desk = self._desk, new.desk
            desk.held.hand_to(self._desk.held)
            desk.close()
        async with self._looking:
            register, self._register = self._register, new.register
            register.close()
        async with self._minting:
            mint, self._mint = self._mint, new.mint
            mint.close()
        await self._counter.load(new.api)
        await self.door.load(new.door)

    def close(self) -> None:
        """Let everything go."""
        self._mint.close()
        self._sight.close()
        self.door.close()
        self._counter.close()
        self._register.close()
        self._desk.close()

    # Revocations.

    async def revoke(self, target: Target, name: str, crew: str, until: Until) -> RevocationAnswer:
        """See `Office`."""

        def revoke() -> Receipt:
            with Owner(self._state) as owner:
                return owner.revoke(name, crew, until, target=target)

        receipt = await trio.to_thread.run_sync(revoke, limiter=self._revoking)
        return RevocationAnswer(
            target=receipt.target,
            id=receipt.name,
            crew=receipt.crew,
            applied_on=receipt.reach.applied_on,
            of=receipt.reach.of,
            ms=max(receipt.reach.ms, receipt.cut_ms),
            missing=receipt.reach.missing,
            enough=receipt.reach.enough,
            cut_ms=receipt.cut_ms,
            calls_cut=receipt.streams_cut,
            processes=receipt.attachments,
            silent=receipt.silent,
            coarsened=receipt.coarsened,
            never_seen=receipt.never_seen,
            never_seen_on=receipt.never_seen_on,
        )

    async def revoke_certificate(self, serial: str, reason: str) -> RevocationAnswer:
        """See `Office`."""
        return await self._sign(Desk.revoke_certificate, serial, reason)

    async def revoke_orchestrator(self, crew: str, name: str, reason: str) -> RevocationAnswer:
        """See `Office`."""
        return await self._sign(Desk.revoke_orchestrator, crew, name, reason)

    async def complete(self, patience: float = 0.0) -> None:
        """See `Desk.complete`; LinkError while the agent is away, AuthorityError."""
        await self._sign(Desk.complete, patience)

    @property
    def trouble(self) -> str:
        """Why the CA's books lack what is in force; "" if they do not."""
        return self._desk.trouble

    async def publish(self) -> None:
        """Sign the list of revoked certificates anew; AuthorityError."""
        await self._sign(Desk.publish)

    async def catch_up(self) -> None:
        """The same if the list lacks a revocation; AuthorityError."""
        await self._sign(Desk.catch_up)

    # What there is.

    async def check(self, serial: str) -> None:
        """See `Office`."""
        check_good(await self.entry(serial), time.time())

    async def holder(self, serial: str) -> Holder | None:
        """See `Office`."""
        entry = await self.entry(serial)
        return None if entry is None else Holder(entry.crew, entry.name)

    async def knows(self, crew: str, name: str) -> bool:
        """See `Office`."""
        return bool(await self._look(Register.issued_since, crew, name, 0))

    async def entry(self, serial: str) -> Entry | None:
        """What the register has of a certificate; AuthorityError."""
        return await self._look(Register.find, serial)

    async def dead(self) -> list[Entry]:
        """Every revoked certificate that would still be valid by its dates."""
        return await self._look(Register.dead_entries, int(time.time()))

    async def tree(self) -> Snapshot:
        """See `Office`."""
        return await self._shared(self._graph.tree)

    async def health(self) -> Health:
        """See `Office`."""
        try:
            status = await self._shared(self._graph.status)
        except LinkError:
            return Health(status="waiting", waiting_for=["the agent to answer"])
        return health(status)

    async def introspect(self, token: str) -> IntrospectionAnswer:
        """See `Office`; LinkError while nobody can say what is revoked."""

        def read() -> IntrospectionAnswer:
            found = self._reader.read(token)
            if found is None or self._sight.is_dead(*found):
                return IntrospectionAnswer(active=False)
            return said(found[0])

        return await trio.to_thread.run_sync(read, limiter=self._reading)

    # Tokens.

    async def start_run(self, crew: str, name: str, grant: Grant) -> TokenAnswer:
        """See `Office`."""
        return await self._issue(Mint.start_run, crew, name, grant)

    async def spawn(self, crew: str, name: str, parent: str, grant: Grant) -> TokenAnswer:
        """See `Office`."""
        return await self._issue(Mint.spawn, crew, name, parent, grant)

    async def refresh(self, crew: str, name: str, token: str, grant: Grant) -> TokenAnswer:
        """See `Office`."""
        return await self._issue(Mint.refresh, crew, name, token, grant)

    # Certificates.

    async def certify(self, wish: Wish) -> CertificateAnswer:
        """See `Office`."""
        return await self._sign(Desk.certify, wish)

    async def certify_server(self, request: str, before: str, by: str) -> CertificateAnswer:
        """See `Office`."""
        return await self._sign(Desk.certify_server, request, before, by)

    async def next_chain(self, leaf: x509.Certificate) -> bytes:
        """PEM of the next certificate after one whose key is here; AuthorityError."""
        return await self._sign(Desk.next_chain, leaf)

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

    # Inside.

    async def _shared(self, what: Shared[T]) -> T:
        fresh = what.fresh()
        if fresh is not None:
            return fresh
        return await trio.to_thread.run_sync(what.get, limiter=self._asking)

    # Which desk, register or mint is meant is decided once it is its turn: `load` may come first.

    async def _sign(
        self, work: Callable[Concatenate[Desk, P], T], *with_: P.args, **more: P.kwargs
    ) -> T:
        def sign() -> T:
            return work(self._desk, *with_, **more)

        return await trio.to_thread.run_sync(sign, limiter=self._signing)

    async def _look(
        self, work: Callable[Concatenate[Register, P], T], *with_: P.args, **more: P.kwargs
    ) -> T:
        def look() -> T:
            return work(self._register, *with_, **more)

        return await trio.to_thread.run_sync(look, limiter=self._looking)

    async def _issue(
        self, work: Callable[Concatenate[Mint, P], T], *with_: P.args, **more: P.kwargs
    ) -> T:
        def issue() -> T:
            return work(self._mint, *with_, **more)

        return await trio.to_thread.run_sync(issue, limiter=self._minting)


class Counter:
    """Answers OCSP in a thread of its own, from a register and with a delegate of its own."""

    def __init__(self, answers: _Answers) -> None:
        self._answers = answers
        self._turn = trio.CapacityLimiter(1)

    def __repr__(self) -> str:
        return f"<Counter {self._answers.responder!r}>"

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
