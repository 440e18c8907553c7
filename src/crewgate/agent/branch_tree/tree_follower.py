"""Reads the branch tree of this machine, and follows it for those who ask again and again.

Threads call it: a table that is full takes about a second.
"""

import os
import threading
from collections.abc import Mapping
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

from crewgate import limits
from crewgate._native.records import BranchRecord
from crewgate._native.table_owner import OwnedTable
from crewgate.agent.branch_tree.inputs import TreeInputs
from crewgate.agent.branch_tree.remote_usage import RemoteUsage, beyond
from crewgate.agent.branch_tree.tree import BranchTree, RowName
from crewgate.agent.recent_activity import recent_activities
from crewgate.core import branch_reference
from crewgate.errors import LedgerUnavailableError
from crewgate.ipc.admin_messages import TreeRow
from crewgate.ledger.factory import open_ledger

if TYPE_CHECKING:
    from crewgate.agent.state import AgentState

_SECOND_NS = 10**9
_NEVER_NS = -(2**62)


def tree(agent: "AgentState", spent_percent: int = 0, *, boot_ns: int = 0) -> list[TreeRow]:
    """Return the branch tree; while the ledger does not answer, with this table's amounts only.

    The calls are those of the minute of CLOCK_BOOTTIME that `boot_ns` is in; 0: of now. Leave out
    branches that have spent less of their quota than `spent_percent`.
    """
    found, records = BranchTree(), _records(agent.table)
    others, boot_ns = _others(agent, records) or {}, boot_ns or agent.clock.boot_ns()
    found.take(_inputs(agent, records, others, boot_ns))
    return [row for row in found.rows() if not row.branch or row.has_spent(spent_percent)]


def find_branches(agent: "AgentState", find: str, crew: str, boot_ns: int = 0) -> list[TreeRow]:
    """Return the branches of a crew that a reference may mean; an empty text means all."""
    found = [row for row in tree(agent, boot_ns=boot_ns) if row.branch]
    return branch_reference.matching(find, crew, found)


class FollowedRows(NamedTuple):
    """The rows that have changed since the cursor of an earlier answer, and the new `cursor`.

    If `is_whole`, they are all rows, and none is gone. `boot_ns` is the moment of the reading.
    """

    cursor: str
    rows: list[TreeRow]
    gone: list[RowName]
    is_whole: bool
    boot_ns: int


class TreeFollower:
    """One tree for all who ask again and again. It reads at most twice a second, and only if asked.

    The amounts of other machines are some seconds old (`limits.tree_ledger_seconds`), since the
    ledger is half of what a tree costs.
    """

    def __init__(self, agent: "AgentState") -> None:
        self._agent = agent
        self._lock = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self._tree = BranchTree()
        self._id = os.urandom(8).hex()
        self._others: Mapping[bytes, RemoteUsage] = {}
        self._read_ns = self._ledger_due_ns = _NEVER_NS

    def ask(self, cursor: str, rows_max: int) -> FollowedRows:
        """Return what has changed since `cursor`, or all rows for one that is not known any more.

        For more than `rows_max` rows there is no cursor, since somebody has to leave some out.
        """
        with self._lock:
            self._read()
            name, _, number = cursor.partition("-")
            is_bounded = len(self._tree) <= rows_max
            found = None
            if is_bounded and name == self._id and number.isdecimal():
                found = self._tree.changes(int(number))
            new = f"{self._id}-{self._tree.reading}" if is_bounded else ""
            is_whole = found is None
            rows, gone = found or (self._tree.rows(), [])
            return FollowedRows(new, rows, gone, is_whole, self._read_ns)

    def forget_unused(self) -> None:
        """Give the memory back if nobody has asked for a while. Never waits."""
        unused = limits.tree_unused_seconds * _SECOND_NS
        if self._tree.reading == 0 or self._agent.clock.boot_ns() < self._read_ns + unused:
            return
        if self._lock.acquire(blocking=False):
            try:
                self._forget()
            finally:
                self._lock.release()

    def _read(self) -> None:
        now = self._agent.clock.boot_ns()
        if now < self._read_ns + limits.tree_read_seconds_min * _SECOND_NS:
            return
        try:
            records = _records(self._agent.table)
            if now >= self._ledger_due_ns:
                self._read_ledger(records, now)
            self._tree.take(_inputs(self._agent, records, self._others, now))
        except BaseException:
            self._forget()  # it may have taken half of a reading
            raise
        self._read_ns = now

    def _read_ledger(self, records: list[BranchRecord], now: int) -> None:
        found = _others(self._agent, records)
        if found is not None:
            self._others = found
        lasted = (self._agent.clock.boot_ns() - now) / _SECOND_NS
        pause = max(limits.tree_ledger_seconds, lasted / limits.tree_ledger_share)
        seconds = min(pause, limits.tree_ledger_seconds_max)
        self._ledger_due_ns = now + round(seconds * _SECOND_NS)


def _inputs(
    agent: "AgentState",
    records: list[BranchRecord],
    others: Mapping[bytes, RemoteUsage],
    boot_ns: int,
) -> TreeInputs:
    table, policy = agent.table, agent.active_config.policy
    return TreeInputs(
        records,
        agent.registry.snapshot(),
        policy.crews,
        table.is_revoked,
        agent.clock.wall_ns() // _SECOND_NS,
        others,
        agent.lease_client.holder,
        agent.notes.amounts(),
        recent_activities(table, boot_ns, policy.loops.rules),
        table.revocation_generation,
    )


def _records(table: OwnedTable) -> list[BranchRecord]:
    size = limits.tree_scan_records
    firsts = range(0, table.geometry.branches, size)
    return [
        record
        for first in firsts
        for record in table.scan(first, min(size, table.geometry.branches - first))
    ]


def _others(agent: "AgentState", records: list[BranchRecord]) -> dict[bytes, RemoteUsage] | None:
    """Return what the ledger says of others; None while it does not answer.

    It has a connection of its own, so no draw waits for a large tree.
    """
    holder, boot = agent.lease_client.holder, agent.table.life
    try:
        ledger = open_ledger(agent.active_config.config.ledger, readonly=True)
        with closing(ledger.session):
            leases, lessees = ledger.leases(holder, boot), ledger.lessees(holder, boot)
            return beyond(ledger.statements([record.key for record in records]), leases, lessees)
    except LedgerUnavailableError:
        return None
