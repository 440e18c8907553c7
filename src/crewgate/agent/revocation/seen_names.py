"""Whether a name that a person typed was ever seen: if not, it is likely mistyped.

This machine's registry knows the branches that its table has, with the newest grant of each; the
journals of orchestrators on this machine have every grant that was minted here; the ledger knows
every branch that drew credit, on each machine that shares it. Other machines are asked the same, in
parallel and for a bounded time. Nothing proves what one answers, so it changes no revocation: a
machine that lies can hide that a name is mistyped, or, with all others, call a good name so.
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


class NameSeenResult(NamedTuple):
    """Where a name was never seen (see `NeverSeen`), and on how many machines."""

    where: NeverSeen = ""
    on: int = 0


SEEN = NameSeenResult()


def has_orchestrator(agent: AgentState, orchestrator: str) -> bool:
    """Whether this `client_id` has a branch or a journal here, or the watch knows it."""
    return (
        any(each.orchestrator == orchestrator for each in agent.registry)
        or any(each.orchestrator == orchestrator for each in agent.minting_watch.states())
        or agent.active_config.config.journal_of(orchestrator).exists()
    )


async def never_seen(agent: AgentState, target: RevocationTarget) -> NameSeenResult:
    """Where a name that tokens have is unknown; SEEN where it is known somewhere.

    Of other kinds (a crew is one of the configuration) and while the ledger does not answer,
    nothing is said either.
    """
    if not target.rules.claim or await is_known(agent, target) is not False:
        return SEEN
    others = agent.fanout.others
    members = 1 if others is None else others.in_touch().members
    if others is None or members == 1:
        return NameSeenResult("everywhere", 1)
    is_branch = target.kind is EntityKind.BRANCH
    if is_branch and agent.active_config.config.ledger.engine == "postgresql":
        return NameSeenResult("everywhere", members)  # they share the ledger
    answers = await others.ask_seen(target)
    if any(answers):
        return SEEN
    on = min(members, 1 + len(answers))
    return NameSeenResult("everywhere" if on == members else "here", on)


async def is_known(agent: AgentState, target: RevocationTarget) -> bool | None:
    """Whether this machine or its ledger knows it; None while that does not answer.

    ValueError for a branch that is no UUID.
    """
    if target.kind is EntityKind.ORCHESTRATOR:
        return has_orchestrator(agent, target.name)
    if _is_registered(agent, target):
        return True
    folder = agent.active_config.config.state / "issuer"
    if await trio.to_thread.run_sync(was_minted, folder, target.rules.claim, target.name):
        return True
    return await _has_drawn(agent, target.key) if target.kind is EntityKind.BRANCH else False


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


def _is_registered(agent: AgentState, target: RevocationTarget) -> bool:
    if target.kind is EntityKind.BRANCH:
        return agent.registry.get(target.key) is not None
    field = target.rules.label
    return any(
        target.name == getattr(each, field) for each in agent.registry if each.crew == target.crew
    )


async def _has_drawn(agent: AgentState, key: bytes) -> bool | None:
    """Ask the ledger about a branch that is not known here; None if it does not answer."""
    if agent.ledger_queue.unavailable_reason:
        return None
    try:
        return key in await agent.ledger_queue.use(lambda ledger: ledger.statements([key]))
    except LedgerUnavailableError:
        return None
