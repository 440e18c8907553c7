"""Asks the agent of this machine, which asks the others, about recorded runs. Blocks."""

import msgspec

from crewgate.audit.replay.extract import MachineExtract
from crewgate.audit.replay.question import ReplayFilter
from crewgate.audit.replay.recorded_runs import RunsFilter, RunsPart
from crewgate.ipc.admin_client import AdminClient
from crewgate.ipc.cluster_view import MachineAnswers, collect
from crewgate.ipc.machine_messages import RecordedRunsQuestion, ReplayQuestion


def ask_lines(
    agent: AdminClient, question: ReplayFilter, machine: str = "", *, others_only: bool = False
) -> MachineAnswers[MachineExtract]:
    """Return the parts of the extracts of all machines, or of one."""
    asked = ReplayQuestion(msgspec.json.encode(question))
    return collect(agent.ask_machines(asked, machine, others_only=others_only), MachineExtract)


def ask_runs(
    agent: AdminClient, question: RunsFilter, machine: str = "", *, others_only: bool = False
) -> MachineAnswers[RunsPart]:
    """Return the runs of all machines, or of one."""
    asked = RecordedRunsQuestion(msgspec.json.encode(question))
    return collect(agent.ask_machines(asked, machine, others_only=others_only), RunsPart)
