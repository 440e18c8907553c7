"""Draws: from a guest's ask to its answer, with a bounded wait for credit that others hold.

Decides nothing about credit, which is the lessor's; decides only when to ask it again. Knows no
clock: times are CLOCK_BOOTTIME nanoseconds that come as arguments.
"""

from collections import deque

import msgspec
import trio

from crewgate import limits
from crewgate._native.owner import OwnedTable
from crewgate.agent.guests import Guest
from crewgate.agent.registry import Registry
from crewgate.agent.revocations import Clocks
from crewgate.agent.watching import Watching
from crewgate.core import ids
from crewgate.core.grant import Grant
from crewgate.errors import LedgerError, LinkError
from crewgate.link.messages import Draw, Drawn
from crewgate.verifier.leasing import Lessor, Status

_AGAIN_NS = round(limits.draw_again_seconds * 1e9)
# With these the branch has a record, so the registry may know it.
_OPENED = {Status.GRANTED, Status.EXHAUSTED, Status.CONTENDED}


class Waiting(msgspec.Struct, frozen=True):
    """A draw that was contended, until when it may be tried."""

    guest: Guest
    ask: Draw
    until_ns: int


class Draws:
    """The draws of all guests; a guest that asks for too many at once is told to try again."""

    def __init__(
        self,
        table: OwnedTable,
        lessor: Lessor,
        registry: Registry,
        watching: Watching,
        wait_seconds: float,
    ) -> None:
        self._table = table
        self._lessor = lessor
        self._registry = registry
        self._watching = watching
        self._wait_ns = round(wait_seconds * 1e9)
        self._waiting: deque[Waiting] = deque()
        self._generation = -1
        self._tried_ns = 0
        self._some = trio.Event()

    def __repr__(self) -> str:
        return f"<Draws waiting={len(self._waiting)}>"

    async def wait(self) -> None:
        """Until there is a draw that waits."""
        if not self._waiting:
            self._some = trio.Event()
            await self._some.wait()

    def ask(self, guest: Guest, ask: Draw, clocks: Clocks) -> None:
        """Answer, or wait; LinkError if the ask contradicts itself."""
        check(ask.grant)
        try:
            status = self._draw(ask, clocks)
        except LedgerError as error:
            raise LinkError(f"a draw that nobody can answer: {error}") from error
        if status is not Status.CONTENDED or guest.draws >= limits.link_draws_max:
            self._answer(guest, ask, status)
            return
        guest.draws += 1
        self._waiting.append(Waiting(guest, ask, clocks.boot_ns + self._wait_ns))
        self._some.set()

    def retry(self, clocks: Clocks) -> None:
        """Try those that wait, in order: at once when credit came back, else now and then."""
        generation = self._table.credit_generation
        due = clocks.boot_ns - self._tried_ns >= _AGAIN_NS
        if generation == self._generation and not due:
            return
        self._generation, self._tried_ns = generation, clocks.boot_ns
        for _ in range(len(self._waiting)):
            waiting = self._waiting.popleft()
            if not self._try(waiting, clocks):
                self._waiting.append(waiting)

    def _try(self, waiting: Waiting, clocks: Clocks) -> bool:
        guest = waiting.guest
        if guest.gone:
            return True
        status = self._draw(waiting.ask, clocks)
        if status is Status.CONTENDED and clocks.boot_ns < waiting.until_ns:
            return False
        guest.draws -= 1
        self._answer(guest, waiting.ask, status)
        return True

    def _draw(self, ask: Draw, clocks: Clocks) -> Status:
        # A throttled or quarantined orchestrator has no share left. That is a 503 and not a 401:
        # a watch suspects and proves nothing, and what a person may lift must not end a branch.
        if not self._watching.admits(ask.grant, clocks):
            return Status.SHARE
        status = self._lessor.draw(ask.grant, ask.need, clocks.wall, clocks.boot_ns)
        if status in _OPENED:
            self._registry.learn(ask.grant)
        return status

    def _answer(self, guest: Guest, ask: Draw, status: Status) -> None:
        if status is Status.EXHAUSTED:
            guest.tell(self._exhausted(ask))
        else:
            guest.tell(Drawn(id=ask.id, status=status.value))

    def _exhausted(self, ask: Draw) -> Drawn:
        record = self._table.branch(self._table.find(ask.grant.branch_key))
        if record is None or record.refused is None:  # credit came back in this moment
            return Drawn(id=ask.id, status="contended")
        _, level, used, quota = record.refused
        return Drawn(
            id=ask.id,
            status="exhausted",
            level=level_name(ask.grant, level),
            used=used,
            quota=quota,
        )


def level_name(grant: Grant, level: int) -> str:
    """The account `level` steps above the branch: a branch's UUID text, or the crew's name."""
    upwards = (grant.branch, *(each.id for each in reversed(grant.claims.branch_path)))
    return upwards[level] if level < len(upwards) else grant.crew


def check(grant: Grant) -> None:
    """LinkError unless the keys of a grant are those of its names, and its credits those it claims.

    A guest is trusted to have verified the token, but a slip there must not charge one crew's
    credit to another's branch, nor open one with credits that no record can hold.
    """
    if not 0 <= grant.quota <= grant.claims.credit_quota:
        raise LinkError(f"a grant of {grant.quota} micro-credits, which is not what it claims")
    try:
        path = tuple(ids.branch_key(grant.crew, each.id) for each in grant.claims.branch_path)
        branch = ids.branch_key(grant.crew, grant.branch)
    except ValueError as error:
        raise LinkError(f"a grant with a bad branch id: {error}") from error
    if (branch, path, ids.path_digest(path)) != (
        grant.branch_key,
        grant.path_keys,
        grant.path_digest,
    ):
        raise LinkError("a grant whose keys are not those of its names")
