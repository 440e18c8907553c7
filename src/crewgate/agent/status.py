"""Builds the agent's answers to status requests and to requests for the branch tree."""

import os
from collections.abc import Iterator
from contextlib import closing

import msgspec

from crewgate import limits
from crewgate._native.records import BranchRecord
from crewgate._native.table_owner import OwnedTable
from crewgate.agent import health
from crewgate.agent.branch_usage_tree import RemoteUsage, beyond, rows
from crewgate.agent.recent_activity import recent_activities
from crewgate.agent.state import AgentState
from crewgate.agent.tool_pins import pin_health
from crewgate.core import branch_reference
from crewgate.core.anomaly.results import OrchestratorStatus
from crewgate.errors import LedgerUnavailableError
from crewgate.ipc.admin_messages import AgentStatus, MintingWatchRow, TreeRow, WorkerStatus
from crewgate.ledger.factory import open_ledger


def status(agent: AgentState, number: int) -> AgentStatus:
    """Return the answer to request `number`: the health of the machine, and counts."""
    workers = [_worker(agent, index) for index in range(agent.active_config.config.workers)]
    others = agent.fanout.others
    watched = [watch_row(each) for each in agent.minting_watch.states()]
    found = health.update(agent)
    return AgentStatus(
        id=number,
        ready=found.ready,
        waiting_for=found.refusals[: limits.health_shown_max],
        pid=os.getpid(),
        life=agent.table.life.hex(),
        fresh=agent.is_fresh(),
        policy_generation=agent.active_config.policy.generation,
        revocation_generation=agent.table.revocation_generation,
        ledger=str(agent.active_config.config.ledger),
        lent=agent.lease_client.overdraft.debt,
        lent_max=agent.lease_client.overdraft.micro_max,
        workers=workers,
        embedders=sum(process.worker < 0 for process in agent.attached),
        counts=agent.table.counts(),
        configuration_error=agent.active_config.error[: limits.ipc_reason_chars_max],
        watched=watched[: limits.watch_rows_max],
        watched_more=max(0, len(watched) - limits.watch_rows_max),
        in_touch=others.in_touch() if others is not None else None,
        machine=agent.lease_client.holder,
        state=found.state,
        health=list(found.conditions[: limits.health_shown_max]),
        health_more=max(0, len(found.conditions) - limits.health_shown_max),
        pins=pin_health.counts(agent.tool_pins),
        coarsened=agent.revocations.coarsened.rows()[: limits.coarsened_rows_max],
    )


def watch_row(watched: OrchestratorStatus) -> MintingWatchRow:
    """Return the status of a watched orchestrator as the admin socket shows it."""
    return msgspec.convert(msgspec.to_builtins(watched), MintingWatchRow)


def _worker(agent: AgentState, index: int) -> WorkerStatus:
    process = agent.attached.worker(index)
    return WorkerStatus(
        index=index,
        attached=process is not None,
        accepting=process is not None and process.accepting,
        policy_generation=process.policy_generation if process else 0,
    )


def _beyond(agent: AgentState) -> dict[bytes, RemoteUsage]:
    """Read the ledger on a connection of its own, so no draw waits for a large tree."""
    holder, boot = agent.lease_client.holder, agent.table.life
    keys = [record.key for record in _records(agent.table)]
    try:
        ledger = open_ledger(agent.active_config.config.ledger, readonly=True)
        with closing(ledger.session):
            leases, lessees = ledger.leases(holder, boot), ledger.lessees(holder, boot)
            return beyond(ledger.statements(keys), leases, lessees)
    except LedgerUnavailableError:
        return {}


def find_branches(agent: AgentState, find: str, crew: str, boot_ns: int = 0) -> list[TreeRow]:
    """Return the branches of a crew that a reference may mean; an empty text means all.

    It blocks, as `tree`.
    """
    found = [row for row in tree(agent, boot_ns=boot_ns) if row.branch]
    return branch_reference.matching(find, crew, found)


def tree(agent: AgentState, spent_percent: int = 0, *, boot_ns: int = 0) -> list[TreeRow]:
    """Return the branch tree; while the ledger does not answer, with this table's amounts only.

    The calls are those of the minute of CLOCK_BOOTTIME that `boot_ns` is in; 0: of now. Leave out
    branches that have spent less of their quota than `spent_percent`. It blocks, for about a second
    with a full table.
    """
    others = _beyond(agent)
    now, table = agent.clock.wall_ns() // 10**9, agent.table
    entries, crews = agent.registry.snapshot(), agent.active_config.policy.crews
    holder, overruns = agent.lease_client.holder, agent.notes.amounts()
    loops, boot_ns = agent.active_config.policy.loops, boot_ns or agent.clock.boot_ns()
    activities = recent_activities(table, boot_ns, loops.rules)
    known = _records(table), entries, crews, table.is_revoked, now, others, holder
    found = rows(*known, overruns=overruns, activities=activities)
    return [row for row in found if not row.branch or row.has_spent(spent_percent)]


def _records(table: OwnedTable) -> Iterator[BranchRecord]:
    size = limits.tree_scan_records
    for first in range(0, table.geometry.branches, size):
        yield from table.scan(first, min(size, table.geometry.branches - first))
