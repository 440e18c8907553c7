"""The work behind the control API: the agent asked, the CA used, tokens signed; see `api/office`.

Everything blocking is done in threads, and each sort of work has its own: whoever floods one waits
there and keeps nobody else. Revocations wait behind no question, and the workers' OCSP behind no
client of the API.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

import trio

from crewgate import limits
from crewgate.api.office import Grant, Holder, Wish
from crewgate.api.snapshot import Snapshot
from crewgate.api.words import (
    CertificateAnswer,
    Health,
    IntrospectionAnswer,
    RevocationAnswer,
    TokenAnswer,
)
from crewgate.config import CA, Config
from crewgate.control.desk import Desk, check_good
from crewgate.control.graph import Graph, Shared
from crewgate.control.mint import Mint, said
from crewgate.control.reader import Reader
from crewgate.control.sight import Sight
from crewgate.errors import AuthorityError, LinkError
from crewgate.link.owner import Owner
from crewgate.link.owner_messages import Receipt, Target, Until
from crewgate.pki.ocsp import Responder
from crewgate.pki.register import Entry, Register

T = TypeVar("T")


class ControlOffice:
    """Is the `Office` of one configuration. Made and closed in any thread, used in the loop."""

    def __init__(self, config: Config, ca: CA, on_error: Callable[[str], None]) -> None:
        """Open the CA and read the crews' keys; AuthorityError, ConfigurationError."""
        self._state = config.state
        self._ca = ca
        self._reader = Reader(config, on_error)
        self._desk = Desk(ca, config.state, {crew.name for crew in config.crews})
        self._register = Register(ca.register)
        self._counter = Counter(self._desk)
        self.door = Counter(self._desk)  # of the unix socket, for this machine's workers
        self._graph = Graph(config.state)
        self._sight = Sight(config.state)
        self._mint = Mint(config, self._graph, self._sight)
        self._asking = trio.CapacityLimiter(limits.control_threads_max)
        self._revoking = trio.CapacityLimiter(limits.control_threads_max)
        self._signing = trio.CapacityLimiter(1)
        self._looking = trio.CapacityLimiter(1)
        self._minting = trio.CapacityLimiter(1)
        self._reading = trio.CapacityLimiter(1)

    def __repr__(self) -> str:
        return f"<ControlOffice {self._desk!r} {self._mint!r}>"

    def close(self) -> None:
        """Let everything go."""
        self._mint.close()
        self._sight.close()
        self.door.close()
        self._counter.close()
        self._register.close()
        self._desk.close()

    # Revocations.

    async def revoke(
        self, target: Target, name: str, crew: str, until: Until
    ) -> RevocationAnswer:
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
        )

    async def revoke_certificate(self, serial: str, reason: str) -> RevocationAnswer:
        """See `Office`."""
        return await self._sign(self._desk.revoke_certificate, serial, reason)

    async def revoke_orchestrator(self, crew: str, name: str, reason: str) -> RevocationAnswer:
        """See `Office`."""
        return await self._sign(self._desk.revoke_orchestrator, crew, name, reason)

    async def complete(self) -> None:
        """Finish what is half done; LinkError while the agent is away, AuthorityError."""
        await self._sign(self._desk.complete)

    async def publish(self) -> None:
        """Sign the list of revoked certificates anew; AuthorityError."""
        await self._sign(self._desk.publish)

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
        return bool(await self._look(self._register.issued_since, crew, name, 0))

    async def entry(self, serial: str) -> Entry | None:
        """What the register has of a certificate; AuthorityError."""
        return await self._look(self._register.find, serial)

    async def dead(self) -> list[Entry]:
        """Every revoked certificate that would still be valid by its dates."""
        return await self._look(self._register.dead_entries, int(time.time()))

    async def tree(self) -> Snapshot:
        """See `Office`."""
        return await self._shared(self._graph.tree)

    async def health(self) -> Health:
        """See `Office`."""
        try:
            status = await self._shared(self._graph.status)
        except LinkError:
            return Health(status="waiting", waiting_for=["the agent to answer"])
        return Health(
            status="ok" if status.ready else "waiting", waiting_for=list(status.waiting_for)
        )

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
        return await self._issue(self._mint.start_run, crew, name, grant)

    async def spawn(self, crew: str, name: str, parent: str, grant: Grant) -> TokenAnswer:
        """See `Office`."""
        return await self._issue(self._mint.spawn, crew, name, parent, grant)

    async def refresh(self, crew: str, name: str, token: str, grant: Grant) -> TokenAnswer:
        """See `Office`."""
        return await self._issue(self._mint.refresh, crew, name, token, grant)

    # Certificates.

    async def certify(self, wish: Wish) -> CertificateAnswer:
        """See `Office`."""
        return await self._sign(self._desk.certify, wish)

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

    async def _sign(self, work: Callable[..., T], *with_: object) -> T:
        return await trio.to_thread.run_sync(partial(work, *with_), limiter=self._signing)

    async def _look(self, work: Callable[..., T], *with_: object) -> T:
        return await trio.to_thread.run_sync(partial(work, *with_), limiter=self._looking)

    async def _issue(self, work: Callable[..., T], *with_: object) -> T:
        return await trio.to_thread.run_sync(partial(work, *with_), limiter=self._minting)


class Counter:
    """Answers OCSP in a thread of its own, from a register and with a delegate of its own."""

    def __init__(self, desk: Desk) -> None:
        """AuthorityError."""
        self._register = Register(desk.authority.register.path)
        self._responder = Responder(desk.authority.issuing, self._register)
        self._turn = trio.CapacityLimiter(1)

    def __repr__(self) -> str:
        return f"<Counter {self._responder!r}>"

    def close(self) -> None:
        """Let the register go."""
        self._register.close()

    async def answer(self, request: bytes) -> bytes:
        """The response to a request, both DER."""
        work = partial(self._responder.answer, request, datetime.now(UTC))
        return await trio.to_thread.run_sync(work, limiter=self._turn)

    async def answer_path(self, tail: str) -> bytes:
        """The same for a GET."""
        work = partial(self._responder.answer_path, tail, datetime.now(UTC))
        return await trio.to_thread.run_sync(work, limiter=self._turn)
