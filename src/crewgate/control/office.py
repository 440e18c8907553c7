"""The work behind the control API: the agent asked, the CA used, tokens signed; see `api/office`.

Everything blocking is done in threads, so many at a time that a flood waits here and not at the
agent. The CA and the issuer belong to one thread at a time each.
"""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec
import trio

from crewgate import limits
from crewgate.api.office import Grant, Holder
from crewgate.api.words import (
    BranchAnswer,
    CertificateAnswer,
    Health,
    IntrospectionAnswer,
    RevocationAnswer,
    TokenAnswer,
)
from crewgate.config import CA, Config
from crewgate.control.answers import branch, host, revoked
from crewgate.control.mint import Mint, said
from crewgate.control.sight import Sight
from crewgate.core.identity import Identity
from crewgate.errors import AuthorityError, LinkError
from crewgate.link.owner import Owner
from crewgate.link.owner_messages import Name, Status
from crewgate.pki.announcing import Announced, announce
from crewgate.pki.authority import Authority, new_instance, read_request
from crewgate.pki.ocsp import Responder
from crewgate.pki.register import Entry

T = TypeVar("T")


class ControlOffice:
    """Is the `Office` of one configuration. Made and closed in any thread, used in the loop."""

    def __init__(self, config: Config, ca: CA) -> None:
        """Open the CA; AuthorityError."""
        self._state = config.state
        self._ca = ca
        self.authority = Authority(ca)
        self._responder = Responder(self.authority.issuing, self.authority.register)
        self._mint = Mint(config)
        self._sight = Sight(config.state)
        self._asking = trio.CapacityLimiter(limits.control_threads_max)
        self._signing = trio.CapacityLimiter(1)
        self._minting = trio.CapacityLimiter(1)
        self._looking = trio.CapacityLimiter(1)
        self._tree: tuple[float, list[BranchAnswer]] = (-limits.tree_seconds, [])
        self._telling = trio.Lock()

    def __repr__(self) -> str:
        return f"<ControlOffice {self.authority!r} {self._mint!r}>"

    def close(self) -> None:
        """Let everything go."""
        self.authority.close()
        self._mint.close()

    # Revocations.

    async def revoke_branch(self, branch: str, crew: str) -> RevocationAnswer:
        """See `Office`."""
        receipt = await self._ask(partial(_owner, self._state, lambda o: o.revoke(branch, crew)))
        return RevocationAnswer(
            target="branch",
            id=receipt.branch,
            crew=receipt.crew,
            ms=receipt.cut_ms,
            calls_cut=receipt.streams_cut,
            coarsened=receipt.coarsened,
        )

    async def revoke_certificate(self, serial: str, reason: str) -> RevocationAnswer:
        """See `Office`."""
        entry = await self._sign(self.authority.register.find, serial)
        if entry is None:
            raise AuthorityError("this CA has issued no such certificate")
        done = await self._sign(self._revoke, [entry], reason, ())
        return revoked("certificate", entry.serial, entry.crew, done, [entry])

    async def revoke_orchestrator(self, crew: str, name: str, reason: str) -> RevocationAnswer:
        """See `Office`."""
        client = f"{crew}/{name}"
        now = int(time.time())
        entries = await self._sign(self.authority.register.of, crew, name, now)
        as_such = (Name(kind="orchestrator", crew=crew, name=client),)
        done = await self._sign(self._revoke, entries, reason, as_such)
        return revoked("orchestrator", client, crew, done, entries)

    async def finish_revocations(self) -> None:
        """Have the agent told of what it was not told; LinkError while it is away."""
        pending = await self._sign(self.authority.register.pending)
        if pending:
            await self._sign(announce, self.authority.register, self._state, pending)

    async def publish(self) -> None:
        """Sign the list of revoked certificates anew."""
        await self._sign(self.authority.publish, datetime.now(UTC))

    def _revoke(
        self, entries: Sequence[Entry], reason: str, more: Sequence[Name]
    ) -> Announced | None:
        """Register, CRL, then table and open connections; None if the agent is away."""
        serials = [entry.serial for entry in entries]
        self.authority.revoke(serials, reason, datetime.now(UTC))
        try:
            return announce(self.authority.register, self._state, entries, more)
        except LinkError:
            if more:
                raise  # the table alone knows of orchestrators
            return None

    # What there is.

    async def holder(self, serial: str) -> Holder | None:
        """See `Office`."""
        entry = await self._sign(self.authority.register.find, serial)
        return None if entry is None else Holder(entry.crew, entry.name)

    async def entry(self, serial: str) -> Entry | None:
        """What the register has of a certificate; AuthorityError."""
        return await self._sign(self.authority.register.find, serial)

    async def dead(self) -> list[Entry]:
        """Every revoked certificate that would still be valid by its dates."""
        return await self._sign(self.authority.register.dead_entries, int(time.time()))

    async def tree(self) -> Sequence[BranchAnswer]:
        """See `Office`; who comes while one is being made gets that one."""
        async with self._telling:
            made, rows = self._tree
            if trio.current_time() - made >= limits.tree_seconds:
                found = await self._ask(partial(_owner, self._state, Owner.tree))
                rows = [branch(row) for row in found]
                self._tree = (trio.current_time(), rows)
        return rows

    async def health(self) -> Health:
        """See `Office`."""
        try:
            status: Status = await self._ask(partial(_owner, self._state, Owner.status))
        except LinkError as error:
            return Health(status="waiting", waiting_for=[f"the agent: {error}"])
        return Health(
            status="ok" if status.ready else "waiting", waiting_for=list(status.waiting_for)
        )

    async def introspect(self, token: str) -> IntrospectionAnswer:
        """See `Office`; LinkError while nobody can say what is revoked."""
        found = await self._mint_(self._mint.read, token)
        if found is None:
            return IntrospectionAnswer(active=False)
        claims, kid = found
        dead = await self._look(self._sight.is_dead, claims, kid)
        return IntrospectionAnswer(active=False) if dead else said(claims)

    # Tokens.

    async def start_run(self, crew: str, name: str, grant: Grant) -> TokenAnswer:
        """See `Office`."""
        return await self._mint_(self._mint.start_run, crew, name, grant)

    async def spawn(self, crew: str, name: str, parent: str, grant: Grant) -> TokenAnswer:
        """See `Office`."""
        return await self._mint_(self._mint.spawn, crew, name, parent, grant)

    async def refresh(self, crew: str, name: str, token: str, grant: Grant) -> TokenAnswer:
        """See `Office`."""
        return await self._mint_(self._mint.refresh, crew, name, token, grant)

    # Certificates.

    async def certify(
        self, identity: Identity, request: str, life_seconds: int | None, hosts: Sequence[str]
    ) -> CertificateAnswer:
        """See `Office`; without an instance it is a new one."""
        return await self._sign(self._certify, identity, request, life_seconds, hosts)

    async def ocsp(self, request: bytes) -> bytes:
        """See `Office`."""
        return await self._sign(self._responder.answer, request, datetime.now(UTC))

    async def crl(self) -> bytes:
        """See `Office`."""
        try:
            return await trio.Path(self._ca.crl).read_bytes()
        except OSError as error:
            raise AuthorityError(f"the list of revoked certificates is missing: {error}") from error

    def _certify(
        self, identity: Identity, request: str, life_seconds: int | None, hosts: Sequence[str]
    ) -> CertificateAnswer:
        now = datetime.now(UTC)
        hour_ago = int(now.timestamp()) - 3600
        if (
            self.authority.register.issued_since(identity.crew, identity.name, hour_ago)
            >= limits.certificates_per_hour_max
        ):
            raise AuthorityError(
                f"{identity.label} has had {limits.certificates_per_hour_max} certificates in an "
                "hour; renew at half of their life"
            )
        if not identity.instance:
            identity = msgspec.structs.replace(identity, instance=new_instance())
        public = read_request(request.encode())
        entry = self.authority.issue(
            identity, public, now, life_seconds=life_seconds, hosts=list(map(host, hosts))
        )
        return CertificateAnswer(
            serial=entry.serial,
            certificate=self.authority.chain(entry).decode(),
            not_before=entry.not_before,
            not_after=entry.not_after,
        )

    # Inside.

    async def _ask(self, work: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(work, limiter=self._asking)

    async def _sign(self, work: Callable[..., T], *with_: object) -> T:
        return await trio.to_thread.run_sync(partial(work, *with_), limiter=self._signing)

    async def _mint_(self, work: Callable[..., T], *with_: object) -> T:
        return await trio.to_thread.run_sync(partial(work, *with_), limiter=self._minting)

    async def _look(self, work: Callable[..., T], *with_: object) -> T:
        return await trio.to_thread.run_sync(partial(work, *with_), limiter=self._looking)


def _owner(state: Path, question: Callable[[Owner], T]) -> T:
    with Owner(state) as owner:
        return question(owner)
