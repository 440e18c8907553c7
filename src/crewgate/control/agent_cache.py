"""Caches the agent's branch tree and status for a second.

However many clients ask at once, one request at a time goes to the agent: a flood of readers costs
it as much as one reader. Blocks. Any thread may call each method; all raise ServiceConnectionError
while the agent is unavailable.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NoReturn

from crewgate import limits
from crewgate.api.branch_tree_snapshot import BranchTreeSnapshot
from crewgate.control.responses import branches
from crewgate.control.token_revocation_check import TokenRevocationCheck
from crewgate.core.tokens.claims import Claims
from crewgate.errors import ServiceConnectionError
from crewgate.ipc.admin_client import AdminClient
from crewgate.ipc.admin_messages import AgentStatus
from crewgate.ipc.machine_messages import THIS_MACHINE
from crewgate.issuer.branches.local_gateway import BranchUsage
from crewgate.runtime.single_flight_cache import SingleFlightCache


class AgentCache:
    """The trees and the status of the agent whose state is in `folder`, at most a second old.

    `tree` has the branches of this machine only: nothing that mints waits for another machine.
    `cluster_tree` has those of all machines.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.tree: SingleFlightCache[BranchTreeSnapshot] = SingleFlightCache(
            self._ask_tree, limits.tree_seconds
        )
        self.cluster_tree: SingleFlightCache[BranchTreeSnapshot] = SingleFlightCache(
            self._ask_cluster_tree, limits.tree_seconds
        )
        self.status: SingleFlightCache[AgentStatus] = SingleFlightCache(
            self._ask_status, limits.tree_seconds
        )

    def may_mint(self, claims: Claims, crew: str, kid: str) -> bool:
        """Have the minting watch count a grant; False if it would refuse its first use."""
        with AdminClient(self._folder) as agent:
            return agent.may_mint(claims, crew, kid)

    def _ask_tree(self) -> BranchTreeSnapshot:
        return self.tree_of(THIS_MACHINE)

    def _ask_cluster_tree(self) -> BranchTreeSnapshot:
        return self.tree_of("")

    def tree_of(self, machine: str) -> BranchTreeSnapshot:
        """Return the tree of a machine, or of all if the name is empty; it is not cached."""
        with AdminClient(self._folder) as agent:
            return branches(agent.cluster_tree(machine=machine, totals=True))

    def _ask_status(self) -> AgentStatus:
        with AdminClient(self._folder) as agent:
            return agent.status()


class CacheBackedGatewayClient:
    """Implements the issuer's `GatewayClient` for orchestrators of `crew`, from the cached tree.

    Unlike the one of the commands, it does not estimate while the agent is unavailable:
    ServiceConnectionError.
    """

    def __init__(self, cache: AgentCache, table_view: TokenRevocationCheck, crew: str) -> None:
        self._cache = cache
        self._table_view = table_view
        self._crew = crew

    def usage(self, branches: Collection[str]) -> Mapping[str, BranchUsage]:
        """See `GatewayClient`; reserved credits count as spent, closed branches as revoked."""
        tree = self._cache.tree.get()
        rows = {name: row for name in branches for row in tree.find(name, self._crew)}
        return {
            name: BranchUsage(
                row.spent_micro + row.reserved_micro + row.burned_micro,
                row.state in {"revoked", "closed"},
            )
            for name, row in rows.items()
        }

    def is_subject_revoked(self, subject: str) -> bool:
        """See `GatewayClient`."""
        return self._table_view.is_subject_revoked(self._crew, subject)

    def revoke(self, branch: str, reason: str = "") -> NoReturn:  # noqa: ARG002
        """Raise ServiceConnectionError: only the control API itself has the agent revoke it."""
        raise ServiceConnectionError(f"branch {branch}: revoke it over the control API")

    def revoke_subject(self, subject: str, reason: str = "") -> NoReturn:  # noqa: ARG002
        """Raise ServiceConnectionError, as `revoke`."""
        raise ServiceConnectionError(f"subject {subject}: revoke it over the control API")
