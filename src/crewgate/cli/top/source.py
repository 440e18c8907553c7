"""Where `crewgate top` reads branches, and orders what ends them: the agent of this machine."""

from pathlib import Path
from typing import Protocol

from crewgate.cli.top.reading import Node
from crewgate.core.ids import EntityKind
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.ipc import receipt_text
from crewgate.ipc.admin_client import AdminClient
from crewgate.ipc.cluster_view import ClusterTree

REASON = "ended in crewgate top"


class Source(Protocol):
    """The machines, asked through one of them. Each method may raise CrewgateError or OSError.

    One thread calls `read`, and perhaps another one the others.
    """

    def read(self) -> ClusterTree:
        """Return the merged tree, with the totals of calls. After an error, it connects again."""

    def end(self, node: Node) -> list[str]:
        """Revoke a branch and all below it; return the lines of the receipt."""

    def quarantine(self, crew: str, orchestrator: str) -> list[str]:
        """Stop an orchestrator from starting branches; return the lines about it."""


class AgentSource:
    """Asks the agent whose state is in `folder`, about all machines or the one called `machine`."""

    def __init__(self, folder: Path, machine: str) -> None:
        self._folder = folder
        self._machine = machine
        self._reader: AdminClient | None = None

    def read(self) -> ClusterTree:
        """See `Source`."""
        if self._reader is None:
            self._reader = AdminClient(self._folder)
        try:
            return self._reader.cluster_tree(machine=self._machine, totals=True)
        except BaseException:
            # After an error, nobody knows what the connection would answer next.
            self._reader.close()
            self._reader = None
            raise

    def end(self, node: Node) -> list[str]:
        """See `Source`."""
        target = RevocationTarget(EntityKind.BRANCH, node.branch, node.crew)
        with AdminClient(self._folder) as admin:
            return receipt_text.of_revocation(admin.revoke([target], reason=REASON))

    def quarantine(self, crew: str, orchestrator: str) -> list[str]:
        """See `Source`."""
        with AdminClient(self._folder) as admin:
            return receipt_text.of_quarantine(orchestrator, admin.quarantine(crew, orchestrator))
