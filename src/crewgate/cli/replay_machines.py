"""Asks for recorded runs: this machine's files, and the other machines through its agent."""

from collections.abc import Callable
from contextlib import closing
from typing import TypeVar

import click

from crewgate import limits
from crewgate.audit.checkpoints.signing_key import CheckpointKey
from crewgate.audit.queries import AuditQueries
from crewgate.audit.replay.asking import ask_lines, ask_runs
from crewgate.audit.replay.extract import MachineExtract, extract
from crewgate.audit.replay.question import ReplayFilter
from crewgate.audit.replay.recorded_runs import RecordedRuns, RunsFilter, RunsPart, merged
from crewgate.audit.replay.run_replay import RunReplay, gather
from crewgate.config import Config
from crewgate.errors import ServiceConnectionError
from crewgate.gossip.member_certificate_store import are_others_known
from crewgate.ipc.admin_client import AdminClient
from crewgate.ipc.cluster_view import MachineAnswers, SilentMachine
from crewgate.ipc.machine_messages import THIS_MACHINE

P = TypeVar("P")


def runs(config: Config, machine: str, question: RunsFilter) -> RecordedRuns:
    """Return the runs of all machines, or of one; this machine's need no running gateway."""
    own = {}
    if _is_here(config, machine):
        with closing(AuditQueries(config.audit.folder)) as audit:
            own[config.name or "this machine"] = audit.runs(question)
    others: MachineAnswers[RunsPart] = _ask(
        config, machine, lambda agent: ask_runs(agent, question, machine, others_only=True)
    )
    return merged(own, others, question.limit)


def replay(config: Config, machine: str, question: ReplayFilter) -> RunReplay:
    """Return the lines of a run of all machines, or of one.

    Raises:
        ConfigurationError: The lines must be signed, and the key of this machine is missing.
        OSError: The audit cannot be read.
        ServiceRefusedError: Several crews have such a run.
    """
    key = CheckpointKey.load(config.state) if question.is_signed else None

    def own(asked: ReplayFilter) -> MachineExtract:
        return extract(config.audit.folder, asked, key, config.name)

    def others(asked: ReplayFilter, name: str) -> MachineAnswers[MachineExtract]:
        only = name or machine
        return _ask(config, only, lambda agent: ask_lines(agent, asked, only, others_only=True))

    return gather(question, own if _is_here(config, machine) else None, others)


def _is_here(config: Config, machine: str) -> bool:
    return machine in {"", THIS_MACHINE, config.name}


def _ask(
    config: Config, machine: str, ask: Callable[[AdminClient], MachineAnswers[P]]
) -> MachineAnswers[P]:
    """Ask the other machines; a machine that cannot be asked is named."""
    nobody: MachineAnswers[P] = MachineAnswers({}, "", [])
    if machine and _is_here(config, machine):
        return nobody
    if config.cluster is None:
        if machine:
            raise click.UsageError(f"no machine {machine!r}: this machine has no [cluster]")
        return nobody
    seconds = limits.members_audit_seconds_max + limits.ipc_seconds_max
    try:
        with AdminClient(config.state, seconds) as agent:
            return ask(agent)
    except ServiceConnectionError as error:
        if not (machine or config.cluster.peers or are_others_known(config.state / "gossip")):
            return nobody
        why = f"the agent of this machine cannot be asked: {error}"
        return MachineAnswers({}, "", [SilentMachine(machine or "(each other one)", why)])
