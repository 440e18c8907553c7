"""Where `crewgate top --control` reads branches, and orders what ends them: the control API."""

from crewgate.cli.remote.branches import branch_tree
from crewgate.cli.remote.client import ControlClient
from crewgate.cli.remote.revocation_receipt import revoke_target
from crewgate.cli.top.reading import Node
from crewgate.cli.top.source import REASON
from crewgate.core.ids import EntityKind
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.errors import ServiceRefusedError
from crewgate.ipc import receipt_text
from crewgate.ipc.cluster_view import ClusterTree


class ControlSource:
    """Asks the control API of a machine, about all machines or the one called `machine`."""

    def __init__(self, client: ControlClient, machine: str) -> None:
        self._client = client
        self._machine = machine

    def read(self) -> ClusterTree:
        """See `Source`."""
        return branch_tree(self._client, "/v1/tree", machine=self._machine)

    def end(self, node: Node) -> list[str]:
        """See `Source`."""
        target = RevocationTarget(EntityKind.BRANCH, node.branch, node.crew)
        return receipt_text.of_revocation(revoke_target(self._client, target, reason=REASON))

    def quarantine(self, crew: str, orchestrator: str) -> list[str]:  # noqa: ARG002
        """Raise ServiceRefusedError: the API has no such request."""
        raise ServiceRefusedError(
            "the control API quarantines nobody: run `crewgate quarantine` on a machine of the "
            f"cluster, with {orchestrator}"
        )
