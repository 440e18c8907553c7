"""Asks the agent of this machine for what the watches see. Blocks; one thread at a time."""

from pathlib import Path
from typing import NamedTuple

from crewgate.core.health import HealthCondition, HealthState
from crewgate.errors import ServiceRefusedError
from crewgate.ipc.admin_client import AdminClient
from crewgate.ipc.admin_messages import TreeRow
from crewgate.ipc.cluster_messages import MemberRow


class HealthConditions(NamedTuple):
    """The health of the machine; unless `is_whole`, components are left out."""

    conditions: list[HealthCondition]
    is_whole: bool


class AgentQueries:
    """A connection to the agent whose state is in `folder`, opened again after each failure.

    Every method raises ServiceConnectionError if the agent does not answer.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._client: AdminClient | None = None

    def health(self) -> HealthConditions:
        """Return the health of all components."""
        status = self._connected().status()
        return HealthConditions(status.health, not status.health_more)

    def members(self) -> list[MemberRow] | None:
        """Return the machines of the cluster; None while the agent cannot say."""
        try:
            return self._connected().members()
        except ServiceRefusedError:
            return None

    def spending(self, percent: int) -> list[TreeRow] | None:
        """Return the crews, and the branches that have spent so much of their quota.

        Return None while the ledger does not answer: the amounts would be of this machine alone.
        """
        client = self._connected()
        for each in client.status().health:
            if each.component == "ledger" and each.state is not HealthState.OK:
                return None
        return client.spending(percent)

    def close(self) -> None:
        """Close the connection, if there is one."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _connected(self) -> AdminClient:
        if self._client is None:
            self._client = AdminClient(self._folder)
        return self._client
