"""Finds out whether a name was ever seen: if not, a person has probably mistyped it.

The registry has the branches of this machine's table, with the newest grant of each. The journals
of orchestrators on this machine have every grant that was minted here. The minting watch has every
orchestrator that used a grant here, also after the table is lost. The ledger has every branch that
drew credit, on each machine that shares it. The agent asks other machines the same, in parallel and
for a bounded time. Nothing proves their answers, so they change no revocation: a member that lies
can hide a mistyped name, and all together can call a correct name mistyped.
"""

from pathlib import Path
from typing import NamedTuple

import trio

from crewgate import limits
from crewgate.agent.state import AgentState
from crewgate.core.ids import EntityKind
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.errors import LedgerUnavailableError
from crewgate.ipc.admin_messages import NeverSeen


class NeverSeenResult(NamedTuple):
    """Where a name was never seen (see `NeverSeen`), and on how many machines (`on`)."""

    where: NeverSeen = ""
    on: int = 0


SEEN = NeverSeenResult()


async def never_seen(agent: AgentState, target: RevocationTarget) -> NeverSeenResult:
    """Return where a name that tokens have was never seen; SEEN if a machine has seen it.

    Also return SEEN for other kinds of names (crews are in the configuration), and while the ledger
    does not answer.
    """
    if not target.rules.claim or await is_known(agent, target) is not False:
        return SEEN
    others = agent.fanout.others
    members = 1 if others is None else others.in_touch().members
    if others is None or members == 1:
        return NeverSeenResult("everywhere", 1)
    is_branch = target.kind is EntityKind.BRANCH
    if is_branch and agent.active_config.config.ledger.engine == "postgresql":
        # All members share the ledger.
        return NeverSeenResult("everywhere", members)
    answers = await others.ask_seen(target)
    if any(answers):
        return SEEN
    on = min(members, 1 + len(answers))
    return NeverSeenResult("everywhere" if on == members else "here", on)


async def is_known(agent: AgentState, target: RevocationTarget) -> bool | None:
    """Return whether this machine or its ledger knows it; None while the ledger does not answer.

    Raises ValueError for a branch that is no UUID.
    """
    if target.kind is EntityKind.ORCHESTRATOR:
        return (
            agent.active_config.config.journal_of(target.name).exists()
            or agent.active_config.config.command_journal_of(target.name).exists()
            or agent.minting_watch.has_seen(target.name)
            or any(each.orchestrator == target.name for each in agent.registry)
        )
    if _is_registered(agent, target):
        return True
    folder = agent.active_config.config.journal_folder
    if await trio.to_thread.run_sync(was_minted, folder, target.rules.claim, target.name):
        return True
    return await _has_drawn(agent, target.key) if target.kind is EntityKind.BRANCH else False


def was_minted(folder: Path, claim: str, name: str) -> bool:
    """Return whether a journal in a folder, or below it, has a grant with this claim; it blocks.

    Also return True if the journals are too long to read them all, or cannot be read. A FIFO among
    them would block for ever, so this reads regular files only.
    """
    sought, left = f'"{claim}":"{name}"'.encode(), limits.seen_journal_bytes_max
    try:
        for path in filter(Path.is_file, folder.rglob("*.jsonl")):
            with path.open("rb") as file:
                for line in file:
                    left -= len(line)
                    if left < 0 or sought in line:
                        return True
    except OSError:
        return True
    return False


def _is_registered(agent: AgentState, target: RevocationTarget) -> bool:
    if target.kind is EntityKind.BRANCH:
        return agent.registry.get(target.key) is not None
    field = target.rules.label
    return any(
        target.name == getattr(each, field)
        for each in agent.registry
        if each.crew == target.crew or (target.rules.spans_crews and not target.crew)
    )


async def _has_drawn(agent: AgentState, key: bytes) -> bool | None:
    if agent.ledger_queue.unavailable_reason:
        return None
    try:
        return key in await agent.ledger_queue.use(lambda ledger: ledger.statements([key]))
    except LedgerUnavailableError:
        return None
