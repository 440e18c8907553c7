"""Builds the agent's answers to status requests."""

import os

import msgspec

from crewgate import limits
from crewgate.agent import health
from crewgate.agent.state import AgentState
from crewgate.agent.tool_pins import pin_health
from crewgate.core.anomaly.results import OrchestratorStatus
from crewgate.ipc.admin_messages import AgentStatus, MintingWatchRow, WorkerStatus


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
