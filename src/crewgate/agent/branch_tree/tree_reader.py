"""Reads the branch tree of this machine: its table, its registry and its ledger.

Threads call it: a table that is full takes about a second.
"""

from collections.abc import Mapping
from contextlib import closing

from crewgate import limits
from crewgate._native.records import BranchRecord
from crewgate.agent.branch_tree.inputs import TreeInputs
from crewgate.agent.branch_tree.remote_usage import RemoteUsage, beyond
from crewgate.agent.branch_tree.tree import BranchTree
from crewgate.agent.recent_activity import recent_activities
from crewgate.agent.state import AgentState
from crewgate.core import branch_reference
from crewgate.errors import LedgerUnavailableError
from crewgate.ipc.admin_messages import TreeRow
from crewgate.ledger.factory import open_ledger


class TreeReader:
    """Reads the tree of the machine of this agent."""

    def __init__(self, agent: AgentState) -> None:
        self._agent = agent

    def tree(self, spent_percent: int = 0, *, boot_ns: int = 0) -> list[TreeRow]:
        """Return the whole tree; while the ledger does not answer, with this table's amounts only.

        A row has the calls of one minute: that of `boot_ns` (CLOCK_BOOTTIME), or with 0, of now.
        Branches that have spent less of their quota than `spent_percent` are left out.
        """
        found, records = BranchTree(), self.records()
        others = self.others(records) or {}
        found.take(self.inputs(records, others, boot_ns or self.boot_ns()))
        return [row for row in found.rows() if not row.branch or row.has_spent(spent_percent)]

    def find(self, reference: str, crew: str, *, boot_ns: int = 0) -> list[TreeRow]:
        """Return the branches of a crew that a reference may mean; an empty text means all."""
        found = [row for row in self.tree(boot_ns=boot_ns) if row.branch]
        return branch_reference.matching(reference, crew, found)

    def boot_ns(self) -> int:
        """Return CLOCK_BOOTTIME."""
        return self._agent.clock.boot_ns()

    def records(self) -> list[BranchRecord]:
        """Return copies of the records of the table."""
        table, size = self._agent.table, limits.tree_scan_records
        return [
            record
            for first in range(0, table.geometry.branches, size)
            for record in table.scan(first, min(size, table.geometry.branches - first))
        ]

    def others(self, records: list[BranchRecord]) -> Mapping[bytes, RemoteUsage] | None:
        """Return what the ledger says of others; None while it does not answer.

        It has a connection of its own, so no draw waits for a large tree.
        """
        holder, boot = self._agent.lease_client.holder, self._agent.table.life
        try:
            ledger = open_ledger(self._agent.active_config.config.ledger, readonly=True)
            keys = [record.key for record in records]
            # All of one moment: else what this table reports meanwhile would count twice.
            with closing(ledger.session), ledger.session.transaction():
                leases, lessees = ledger.leases(holder, boot), ledger.lessees(holder, boot)
                statements = ledger.statements(keys)
            return beyond(statements, leases, lessees)
        except LedgerUnavailableError:
            return None

    def inputs(
        self, records: list[BranchRecord], others: Mapping[bytes, RemoteUsage], boot_ns: int
    ) -> TreeInputs:
        """Return all that the tree is made from."""
        agent, policy = self._agent, self._agent.active_config.policy
        return TreeInputs(
            records,
            agent.registry.snapshot(),
            policy.crews,
            agent.table.is_revoked,
            agent.clock.wall_ns() // 10**9,
            others,
            agent.lease_client.holder,
            agent.notes.amounts(),
            recent_activities(agent.table, boot_ns, policy.loops.rules),
            agent.table.revocation_generation,
        )
