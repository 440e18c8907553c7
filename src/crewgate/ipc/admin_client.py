"""A blocking client of the admin socket: revoke, quarantine, tree, status, reload and more.

For commands, the control process and orchestrators on the same machine. One request at a time;
prints nothing and retries nothing.
"""

import socket
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Self, TypeVar

from crewgate import limits
from crewgate.core.health import ComponentHealth
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.core.tokens.claims import Claims
from crewgate.errors import ServiceConnectionError, ServiceRefusedError
from crewgate.ipc import admin_messages as messages
from crewgate.ipc.attach_messages import RequestFailed, pack, unpack
from crewgate.ipc.cluster_messages import (
    EvictMember,
    EvictUntil,
    GetMachineClusterStatus,
    GetMembers,
    GroupKeysRotated,
    MachineClusterStatus,
    MemberRow,
    MembersPage,
    RotateGroupKeys,
)
from crewgate.ipc.cluster_view import (
    ClusterRevocations,
    ClusterStatus,
    ClusterTree,
    revocations_of,
    status_of,
    tree_of,
)
from crewgate.ipc.frames import FrameDecoder
from crewgate.ipc.machine_messages import (
    AskMachines,
    InForceQuestion,
    MachineAnswer,
    MachineQuestion,
    RevocationsQuestion,
    StatusQuestion,
    TreeQuestion,
)
from crewgate.ipc.pin_messages import (
    ApprovePins,
    Definitions,
    ForgetPins,
    GetDefinitions,
    GetPins,
    PinRow,
    PinsPage,
    PinsUpdated,
)
from crewgate.ipc.revocation_messages import GetRevocations, RevocationRow, RevocationsPage
from crewgate.ipc.sockets import AgentSocketKind, ProcessCredentials, connect, peer_of

_CHUNK = 64 * 2**10
A = TypeVar("A", bound=messages.AdminResponse)
P = TypeVar("P", messages.TreePage, MembersPage, PinsPage, RevocationsPage)


class AdminClient:
    """A connection to the admin socket (`owner.sock`); use it in a `with`.

    Every method raises ServiceConnectionError if the agent is gone or breaks the protocol (then
    connect again), and ServiceRefusedError if the agent refuses the request.
    """

    def __init__(self, folder: Path, seconds: float = limits.ipc_seconds_max) -> None:
        self._connection: socket.socket = connect(folder, AgentSocketKind.OWNER, seconds)
        self._decoder = FrameDecoder()
        self._received: list[messages.AdminResponse] = []
        self._last_id = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    @property
    def agent(self) -> ProcessCredentials:
        """The process that listens, as the kernel reports it."""
        return peer_of(self._connection)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def revoke(
        self,
        targets: Sequence[RevocationTarget],
        until: messages.Until = "",
        by: str = "",
        reason: str = "",
    ) -> messages.RevocationReceipt:
        """Revoke 1 to `limits.ipc_targets_max` targets in one step: all of them, or none.

        So at most one of them may be of a kind that the agent refuses if the table has no room.
        Returns when this machine has ended the open calls, and as many machines as `until` says
        have the revocation on disk. The wait for each is bounded; the receipt says what was
        reached. `by` is for the audit: who ordered it, if it was nobody on this machine.
        `reason` is a text for the audit and the list of revocations.
        """
        request = messages.Revoke(self._next_id(), list(targets), until, by, reason)
        return self._request(request, messages.RevocationReceipt)

    def quarantine(
        self, crew: str, orchestrator: str, *, lift: bool = False, seconds: int = 0, by: str = ""
    ) -> messages.QuarantineResult:
        """Quarantine an orchestrator (a `client_id`), or lift that; return what holds now.

        Gateways then admit no new grants of it, for `seconds`; 0: for its crew's usual time. `by`
        is for the audit, as for `revoke`.
        """
        request = messages.Quarantine(self._next_id(), crew, orchestrator, lift, seconds, by)
        return self._request(request, messages.QuarantineResult)

    def forgive(
        self, branch: str, crew: str = "", *, by: str = ""
    ) -> messages.BurnedCreditForgiven:
        """Give back the burned credit of the leases of `branch` (UUID text), and of it alone.

        `by` is for the audit, as for `revoke`.
        """
        request = messages.ForgiveBurnedCredit(self._next_id(), branch, crew, by)
        return self._request(request, messages.BurnedCreditForgiven)

    def may_mint(self, claims: Claims, crew: str, kid: str) -> bool:
        """Return whether gateways would admit a grant that key `kid` of `crew` is about to sign.

        The minting watch counts the grant.
        """
        request = messages.CheckMint(id=self._next_id(), crew=crew, kid=kid, claims=claims)
        return self._request(request, messages.MintDecision).admitted

    def status(self) -> messages.AgentStatus:
        """Return whether this machine is ready, and if not, why."""
        return self._request(messages.GetStatus(id=self._next_id()), messages.AgentStatus)

    def report(self, source: messages.ReportSource, facts: Sequence[ComponentHealth]) -> None:
        """Report the health of a process; there is no answer.

        The report holds until the next one, or until the connection ends.
        """
        self._send(
            messages.ProcessHealthReport(id=self._next_id(), source=source, facts=list(facts))
        )

    def reload(self) -> messages.ReloadResult:
        """Make the agent read configuration and keys again.

        Raises ServiceRefusedError for a bad file; the old configuration stays then.
        """
        return self._request(messages.ReloadConfig(id=self._next_id()), messages.ReloadResult)

    def tree(self, find: str = "", crew: str = "") -> list[messages.TreeRow]:
        """Return every branch that this machine knows, parents before children.

        With `find` or `crew`, return only the branches that `GetTree` says, and no crews.
        """
        pages = self._pages(messages.GetTree(self._next_id(), find, crew), messages.TreePage)
        return [row for page in pages for row in page.rows]

    def spending(self, percent: int) -> list[messages.TreeRow]:
        """Return the crews, and the branches that have spent this much of their quota."""
        request = messages.GetTree(self._next_id(), spent_percent=percent)
        pages = self._pages(request, messages.TreePage)
        return [row for page in pages for row in page.rows]

    def revocations(
        self, crew: str = "", limit: int = limits.revocation_rows_default
    ) -> tuple[list[RevocationRow], int]:
        """Return the newest revocations that this machine knows, the oldest of them first.

        Also return how many there are in all. With `crew`, only those of a crew.
        """
        pages = list(self._pages(GetRevocations(self._next_id(), crew, limit), RevocationsPage))
        return [row for page in pages for row in page.rows], pages[-1].total

    def ask_machines(
        self,
        question: MachineQuestion,
        machine: str = "",
        *,
        others_only: bool = False,
        cursors: Mapping[str, str] | None = None,
    ) -> Iterator[MachineAnswer]:
        """Yield the answers of all machines, or of one, to a question; `cluster_view` reads them.

        The agent asks the other machines for a bounded time, and says which did not answer.
        `cursors` of machines are as in `AskMachines`.
        """
        cursors = dict(islice((cursors or {}).items(), limits.tree_cursors_max))
        request = AskMachines(self._next_id(), question, machine, others_only, cursors)
        answer = self._request(request, MachineAnswer)
        yield answer
        while answer.what != "end":
            answer = self._answer(answer.id, MachineAnswer)
            yield answer

    def cluster_tree(
        self, find: str = "", crew: str = "", machine: str = "", *, totals: bool = False
    ) -> ClusterTree:
        """Return the merged tree of all machines, or that of one; `find` and `crew` as `tree`.

        With `totals`, also what calls of each crew to each tool have come to.
        """
        return tree_of(self.ask_machines(TreeQuestion(find, crew, totals), machine))

    def cluster_status(self, machine: str = "") -> ClusterStatus:
        """Return the health of all machines, or of one."""
        return status_of(self.ask_machines(StatusQuestion(), machine))

    def cluster_revocations(
        self, crew: str = "", limit: int = limits.revocation_rows_default, machine: str = ""
    ) -> ClusterRevocations:
        """Return the newest revocations of all machines, or those that one machine knows."""
        answers = self.ask_machines(RevocationsQuestion(crew, limit), machine)
        return revocations_of(
            answers, limit, lambda keys: self.ask_machines(InForceQuestion(keys), machine)
        )

    def members(self) -> list[MemberRow]:
        """Return the machines of this trust domain, this one first."""
        pages = self._pages(GetMembers(id=self._next_id()), MembersPage)
        return [row for page in pages for row in page.rows]

    def cluster(self) -> MachineClusterStatus:
        """Return the state of this machine in its cluster."""
        return self._request(GetMachineClusterStatus(id=self._next_id()), MachineClusterStatus)

    def evict(
        self, name: str, until: EvictUntil = "", *, force: bool = False
    ) -> messages.RevocationReceipt:
        """Evict a member for good; returns as `revoke`.

        The receipt has no targets if this machine has no certificate of the member: then it revoked
        nothing, and could inform no other machine.
        """
        request = EvictMember(id=self._next_id(), name=name, until=until, force=force)
        return self._request(request, messages.RevocationReceipt)

    def rotate_keys(self, *, revoke_old: bool = False) -> GroupKeysRotated:
        """Make another key for the datagrams of all members; `revoke_old` ends earlier keys."""
        return self._request(
            RotateGroupKeys(id=self._next_id(), voids=revoke_old), GroupKeysRotated
        )

    def pins(self, endpoint: str = "") -> list[PinRow]:
        """Return the pinned tools of an MCP endpoint, or of all; sorted by endpoint and name."""
        pages = self._pages(GetPins(self._next_id(), endpoint), PinsPage)
        return [row for page in pages for row in page.rows]

    def definitions(self, endpoint: str, name: str) -> Definitions:
        """Return the pinned and the newest definition of a tool."""
        return self._request(GetDefinitions(self._next_id(), endpoint, name), Definitions)

    def approve_pins(
        self, endpoint: str, names: Sequence[str], *, every: bool = False, digest: str = ""
    ) -> PinsUpdated:
        """Trust the newest definitions of these tools, or of `every` tool of the endpoint.

        If `digest` is not empty, the newest digest of the one tool must begin with it.
        """
        request = ApprovePins(self._next_id(), endpoint, list(names), every, digest)
        return self._request(request, PinsUpdated)

    def forget_pins(
        self, endpoint: str, names: Sequence[str], *, every_gone: bool = False
    ) -> PinsUpdated:
        """Drop the pins of these tools, or of `every_gone` one that the server does not list."""
        request = ForgetPins(self._next_id(), endpoint, list(names), every_gone)
        return self._request(request, PinsUpdated)

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def _send(self, request: messages.AdminRequest) -> None:
        try:
            self._connection.sendall(pack(request))
        except OSError as error:
            raise ServiceConnectionError(f"the agent does not take the request: {error}") from error

    def _request(self, request: messages.AdminRequest, kind: type[A]) -> A:
        self._send(request)
        return self._answer(request.id, kind)

    def _pages(self, request: messages.AdminRequest, kind: type[P]) -> Iterator[P]:
        page = self._request(request, kind)
        yield page
        while not page.last:
            page = self._answer(request.id, kind)
            yield page

    def _answer(self, number: int, kind: type[A]) -> A:
        while not self._received:
            self._read()
        answer = self._received.pop(0)
        if isinstance(answer, RequestFailed) and answer.id in {number, 0}:
            raise ServiceRefusedError(answer.message)
        if not isinstance(answer, kind) or answer.id != number:
            raise ServiceConnectionError(
                f"the agent answered with {type(answer).__name__}; expected {kind.__name__}"
            )
        return answer

    def _read(self) -> None:
        try:
            data = self._connection.recv(_CHUNK)
        except OSError as error:
            # The request waits in the agent's socket.
            raise ServiceConnectionError(
                f"the agent does not answer ({error}): it is stopped or very busy, and will do the "
                "request when it continues; see its log"
            ) from error
        if not data:
            raise ServiceConnectionError(
                "the agent closed the connection: it has ended, or it refuses so large a request, "
                "or this is not the service's user; see its log"
            )
        self._received += [
            unpack(messages.owner_answers, body) for body in self._decoder.feed(data)
        ]
