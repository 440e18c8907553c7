"""Collects the checkpoints of this machine's audit that are known outside of the audit folder."""

from datetime import UTC, datetime
from typing import NamedTuple

from crewgate.audit.checkpoints.findings import HeldCheckpoint
from crewgate.audit.checkpoints.log import newest_checkpoint
from crewgate.config import Config
from crewgate.errors import ServiceConnectionError
from crewgate.ipc.admin_client import AdminClient
from crewgate.ipc.answer_parts import CheckpointsPart
from crewgate.ipc.cluster_view import SilentMachine, collect
from crewgate.ipc.machine_messages import THIS_MACHINE, CheckpointsQuestion


class HeldCheckpoints(NamedTuple):
    """The checkpoints, the other machines that answered, and those that did not."""

    checkpoints: list[HeldCheckpoint]
    machines: list[str]
    not_asked: list[SilentMachine]


NONE = HeldCheckpoints([], [], [])


def ask(config: Config) -> HeldCheckpoints:
    """Read the state folder, and have the agent of this machine ask the other ones."""
    newest = newest_checkpoint(config.state, config.audit.folder)
    held = [] if newest is None else [HeldCheckpoint("the state folder", *newest)]
    if config.cluster is None:
        return HeldCheckpoints(held, [], [])
    try:
        with AdminClient(config.state) as admin:
            name = config.name or admin.cluster_status(THIS_MACHINE).asked
            answers = admin.ask_machines(CheckpointsQuestion(name), others_only=True)
            found = collect(answers, CheckpointsPart)
    except ServiceConnectionError as error:
        why = f"the agent of this machine cannot be asked: {error}"
        return HeldCheckpoints(held, [], [SilentMachine("(each other one)", why)])
    held += [
        HeldCheckpoint(machine, row.number, row.digest, datetime.fromtimestamp(row.heard, UTC))
        for machine, parts in found.parts.items()
        for part in parts
        for row in part.rows
    ]
    return HeldCheckpoints(held, [*found.parts], found.not_asked)
