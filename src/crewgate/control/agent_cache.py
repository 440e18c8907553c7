"""The agent's tree and its word on readiness, asked for once and told to everybody for a second.

However many ask at once, the agent is asked once at a time: a flood of readers costs it what one
reader costs. Blocks; every method may be called from any thread and raises LinkError while there is
no agent.
"""

import threading
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Generic, NoReturn, TypeVar

from crewgate import limits
from crewgate.api.branch_tree_snapshot import BranchTreeSnapshot
from crewgate.control.responses import branch
from crewgate.core.tokens.claims import Claims
from crewgate.errors import LinkError
from crewgate.ipc.admin_client import AdminClient
from crewgate.ipc.admin_messages import AgentStatus
from crewgate.issuer.gateway import BranchUsage

T = TypeVar("T")


class SingleFlightCache(Generic[T]):
    """What `make` found, for `seconds`; who comes while it is being made waits for that one."""

    def __init__(
        self,
        make: Callable[[], T],
        seconds: float = limits.tree_seconds,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make = make
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._made: tuple[float, T] | None = None

    def fresh(self) -> T | None:
        """What there is, if it is young enough; never waits."""
        made = self._made
        return made[1] if made and self._clock() - made[0] < self._seconds else None

    def get(self) -> T:
        """The same, made if need be."""
        with self._lock:
            found = self.fresh()
            if found is None:
                found = self._make()
                self._made = (self._clock(), found)
            return found


class AgentCache:
    """What the agent of the state folder `folder` says, a second old at most."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.tree: SingleFlightCache[BranchTreeSnapshot] = SingleFlightCache(self._ask_tree)
        self.status: SingleFlightCache[AgentStatus] = SingleFlightCache(self._ask_status)

    def may_mint(self, claims: Claims, crew: str, kid: str) -> bool:
        """Have the minting watch count a grant; False if it would refuse its first use."""
        with AdminClient(self._folder) as owner:
            return owner.may_mint(claims, crew, kid)

    def _ask_tree(self) -> BranchTreeSnapshot:
        with AdminClient(self._folder) as owner:
            return BranchTreeSnapshot([branch(row) for row in owner.tree()])

    def _ask_status(self) -> AgentStatus:
        with AdminClient(self._folder) as owner:
            return owner.status()


class CachedGateway:
    """Is the `Gateway` of an orchestrator of `crew`: what was spent, as the shared tree has it.

    Unlike a command's, it does not guess while the agent is away: LinkError.
    """

    def __init__(self, graph: AgentCache, crew: str) -> None:
        self._cache = graph
        self._crew = crew

    def usage(self, branches: Collection[str]) -> Mapping[str, BranchUsage]:
        """See `Gateway`; what is held for calls counts as spent, what is closed as dead."""
        tree = self._cache.tree.get()
        rows = {name: row for name in branches for row in tree.find(name, self._crew)}
        return {
            name: BranchUsage(
                row.spent_micro + row.reserved_micro + row.burned_micro,
                row.state in {"revoked", "closed"},
            )
            for name, row in rows.items()
        }

    def revoke(self, branch: str) -> NoReturn:
        """Nobody revokes by a journal here: the API tells the agent itself."""
        raise LinkError(f"branch {branch} is revoked by the control API alone")
