"""The owner's questions to the agent: revoke, watch, tree, status, reload. One at a time, blocking.

For commands and issuers on the same machine. Prints nothing and retries nothing.
"""

import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self, TypeVar

from crewgate import limits
from crewgate.core.health import HealthFact
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.core.tokens.claims import Claims
from crewgate.errors import LinkError, RefusedError
from crewgate.ipc.admin_messages import (
    AdminRequest,
    AdminResponse,
    AgentStatus,
    BurnedForgiven,
    CheckMint,
    ForgiveBurned,
    GetStatus,
    GetTree,
    MintDecision,
    Quarantine,
    QuarantineState,
    ReloadConfig,
    ReloadResult,
    ReportHealth,
    ReportSource,
    RevocationReceipt,
    Revoke,
    TreePage,
    TreeRow,
    Until,
    owner_answers,
)
from crewgate.ipc.attach_messages import RequestFailed, pack, unpack
from crewgate.ipc.cluster_messages import (
    ClusterStatus,
    EvictMember,
    EvictUntil,
    GetClusterStatus,
    GetMembers,
    KeysRotated,
    MemberRow,
    MembersPage,
    RotateKeys,
)
from crewgate.ipc.frames import FrameDecoder
from crewgate.ipc.sockets import AgentSocket, ProcessCredentials, connect, peer_of

_CHUNK = 64 * 2**10
A = TypeVar(
    "A", RevocationReceipt, QuarantineState, BurnedForgiven, MintDecision, TreePage, AgentStatus,
    ReloadResult, MembersPage, ClusterStatus, KeysRotated,
)  # fmt: skip
P = TypeVar("P", TreePage, MembersPage)


class AdminClient:
    """A connection to the owner's door; use it in a `with`.

    Every method raises LinkError if the agent is gone or breaks the protocol (connect anew), and
    RefusedError if it will not do what was asked.
    """

    def __init__(self, folder: Path, seconds: float = limits.link_seconds_max) -> None:
        self._connection: socket.socket = connect(folder, AgentSocket.OWNER, seconds)
        self._decoder = FrameDecoder()
        self._received: list[AdminResponse] = []
        self._last_id = 0

    def __repr__(self) -> str:
        return f"<AdminClient asked {self._last_id} questions>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    @property
    def agent(self) -> ProcessCredentials:
        """The process that listens, by the kernel's word."""
        return peer_of(self._connection)

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def revoke(self, targets: Sequence[RevocationTarget], until: Until = "") -> RevocationReceipt:
        """Revoke 1 to `limits.link_targets_max` targets in one step.

        At most one of them may be of a kind that is refused where the table has no room for it, so
        that all are revoked or none. Returns when the open calls of this machine are cut and so
        many machines have it on disk as `until` says, or have had their time; the receipt says
        which.
        """
        ask = Revoke(id=self._next_id(), targets=list(targets), until=until)
        return self._ask(ask, RevocationReceipt)

    def quarantine(
        self, crew: str, orchestrator: str, *, lift: bool = False, seconds: int = 0
    ) -> QuarantineState:
        """Admit no new grants of an orchestrator (a `client_id`), or let it go; what holds now.

        `seconds` is for how long; 0: as long as its crew's quarantines are.
        """
        ask = Quarantine(self._next_id(), crew, orchestrator, lift, seconds)
        return self._ask(ask, QuarantineState)

    def forgive(self, branch: str, crew: str = "") -> BurnedForgiven:
        """Give back what was burned of the leases of `branch` (UUID text), and of it alone."""
        return self._ask(
            ForgiveBurned(id=self._next_id(), branch=branch, crew=crew), BurnedForgiven
        )

    def may_mint(self, claims: Claims, crew: str, kid: str) -> bool:
        """Count a grant that key `kid` of `crew` is about to sign; False if it would be refused."""
        ask = CheckMint(id=self._next_id(), crew=crew, kid=kid, claims=claims)
        return self._ask(ask, MintDecision).admitted

    def status(self) -> AgentStatus:
        """Is this machine ready, and if not, why?"""
        return self._ask(GetStatus(id=self._next_id()), AgentStatus)

    def report(self, source: ReportSource, facts: Sequence[HealthFact]) -> None:
        """Report the health of a process; it holds until the next one, or the connection's end.

        Waits for no answer.
        """
        self._send(ReportHealth(id=self._next_id(), source=source, facts=list(facts)))

    def reload(self) -> ReloadResult:
        """Read configuration and keys again; a bad file is a RefusedError, the old one stays."""
        return self._ask(ReloadConfig(id=self._next_id()), ReloadResult)

    def tree(self) -> list[TreeRow]:
        """Every branch that this machine knows, parents before children."""
        pages = self._pages(GetTree(id=self._next_id()), TreePage)
        return [row for page in pages for row in page.rows]

    def members(self) -> list[MemberRow]:
        """The machines of this trust domain, this one first."""
        pages = self._pages(GetMembers(id=self._next_id()), MembersPage)
        return [row for page in pages for row in page.rows]

    def cluster(self) -> ClusterStatus:
        """How this machine stands among them."""
        return self._ask(GetClusterStatus(id=self._next_id()), ClusterStatus)

    def evict(self, name: str, until: EvictUntil = "", *, force: bool = False) -> RevocationReceipt:
        """Evict a member for good; returns as `revoke`.

        The receipt has no targets if this machine has no certificate of the member: nothing was
        revoked, and no other machine could be told.
        """
        ask = EvictMember(id=self._next_id(), name=name, until=until, force=force)
        return self._ask(ask, RevocationReceipt)

    def rotate_keys(self, *, revoke_old: bool = False) -> KeysRotated:
        """Make another key for the datagrams of all members; `revoke_old` ends earlier keys."""
        return self._ask(RotateKeys(id=self._next_id(), voids=revoke_old), KeysRotated)

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def _send(self, question: AdminRequest) -> None:
        try:
            self._connection.sendall(pack(question))
        except OSError as error:
            raise LinkError(f"the agent does not take the question: {error}") from error

    def _ask(self, question: AdminRequest, kind: type[A]) -> A:
        self._send(question)
        return self._answer(question.id, kind)

    def _pages(self, question: AdminRequest, kind: type[P]) -> Iterator[P]:
        page = self._ask(question, kind)
        yield page
        while not page.last:
            page = self._answer(question.id, kind)
            yield page

    def _answer(self, number: int, kind: type[A]) -> A:
        while not self._received:
            self._read()
        answer = self._received.pop(0)
        if isinstance(answer, RequestFailed) and answer.id in {number, 0}:
            raise RefusedError(answer.message)
        if not isinstance(answer, kind) or answer.id != number:
            raise LinkError(f"the agent answered with another thing: {type(answer).__name__}")
        return answer

    def _read(self) -> None:
        try:
            data = self._connection.recv(_CHUNK)
        except OSError as error:
            # What was asked lies in its socket.
            raise LinkError(
                f"the agent does not answer ({error}): it is stopped or very busy, and does what "
                "it was asked once it goes on; see its log"
            ) from error
        if not data:
            raise LinkError(
                "the agent hung up: it has ended, takes no question as long as this one, or is "
                "asked by another than the service's user"
            )
        self._received += [unpack(owner_answers, body) for body in self._decoder.feed(data)]
