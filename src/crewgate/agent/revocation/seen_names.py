"""Whether a name that a person typed was ever seen: if not, it is likely mistyped.

This machine's registry knows the branches that its table has, with the newest grant of each; the
journals of orchestrators on this machine have every grant that was minted here; the ledger knows
every branch that drew credit, on each machine that shares it. Other machines are asked the same, in
parallel and for a bounded time. Nothing proves what one answers, so it changes no revocation: a
machine that lies can hide that a name is mistyped, or, with all others, call a good name so.
"""

from pathlib import Path
from typing import NamedTuple, cast

import trio

from crewgate import limits
from crewgate.agent.revocation.fanout import SeenTarget
from crewgate.agent.state import AgentState
from crewgate.core.ids import branch_key
from crewgate.errors import LedgerUnavailableError
from crewgate.ipc.admin_messages import NeverSeen

# The claim that has the name, in a line of a journal.
_CLAIMS = {"branch": "execution_branch_id", "grant": "jti", "process": "process_id"}


class UnknownName(NamedTuple):
    """Where a name was never seen (see `NeverSeen`), and on how many machines."""

    where: NeverSeen = ""
    on: int = 0


SEEN = UnknownName()


def has_orchestrator(agent: AgentState, orchestrator: str) -> bool:
    """Whether this `client_id` has a branch or a journal here, or the watch knows it."""
    return (
        any(each.orchestrator == orchestrator for each in agent.registry)
        or any(each.orchestrator == orchestrator for each in agent.minting_watch.states())
        or agent.active_config.config.journal_of(orchestrator).exists()
    )


async def never_seen(agent: AgentState, target: str, name: str, crew: str) -> UnknownName:
    """Where a branch, grant, process or orchestrator is unknown; SEEN where it is known somewhere.

    A crew is one of the configuration; nor is anything said while the ledger does not answer.
    """
    if target == "crew" or await is_known(agent, target, name, crew) is not False:
        return SEEN
    others = agent.fanout.others
    members = 1 if others is None else others.in_touch().members
    if others is None or members == 1:
        return UnknownName("everywhere", 1)
    if target == "branch" and agent.active_config.config.ledger.engine == "postgresql":
        return UnknownName("everywhere", members)  # they share the ledger
    answers = await others.ask_seen(cast("SeenTarget", target), name, crew)
    if any(answers):
        return SEEN
    on = min(members, 1 + len(answers))
    return UnknownName("everywhere" if on == members else "here", on)


async def is_known(agent: AgentState, target: str, name: str, crew: str) -> bool | None:
    """Whether this machine or its ledger knows it; None while that does not answer.

    ValueError for a branch that is no UUID.
    """
    if target == "orchestrator":
        return has_orchestrator(agent, name)
    if _is_registered(agent, target, name, crew):
        return True
    folder = agent.active_config.config.state / "issuer"
    if await trio.to_thread.run_sync(was_minted, folder, _CLAIMS[target], name):
        return True
    return await _has_drawn(agent, name, crew) if target == "branch" else False


def was_minted(folder: Path, claim: str, name: str) -> bool:
    """Whether a journal in a folder has a grant with this claim; blocks.

    True also where there is more than can be read in a moment, or nothing can be read.
    """
    sought, left = f'"{claim}":"{name}"'.encode(), limits.seen_journal_bytes_max
    try:
        for path in folder.glob("*.jsonl"):
            with path.open("rb") as file:
                for line in file:
                    left -= len(line)
                    if left < 0 or sought in line:
                        return True
    except OSError:
        return True
    return False


def _is_registered(agent: AgentState, target: str, name: str, crew: str) -> bool:
    if target == "branch":
        return agent.registry.get(branch_key(crew, name)) is not None
    return any(
        name == (each.grant if target == "grant" else each.process)
        for each in agent.registry
        if each.crew == crew
    )


async def _has_drawn(agent: AgentState, branch: str, crew: str) -> bool | None:
    """Ask the ledger about a branch that is not known here; None if it does not answer."""
    key = branch_key(crew, branch)
    if agent.ledger_queue.unavailable_reason:
        return None
    try:
        return key in await agent.ledger_queue.use(lambda ledger: ledger.statements([key]))
    except LedgerUnavailableError:
        return None
