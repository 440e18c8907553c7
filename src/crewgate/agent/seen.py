"""Whether a name that a person typed was ever seen: if not, it is likely mistyped.

This machine's registry knows the branches that its table has, with the newest grant of each; the
journals of orchestrators on this machine have every grant that was minted here; the ledger knows
every branch that drew credit, on each machine that shares it. Other machines are not asked.
"""

from pathlib import Path

import trio

from crewgate import limits
from crewgate.agent.machine import Machine
from crewgate.core.ids import branch_key
from crewgate.errors import LedgerUnavailableError
from crewgate.link.owner_messages import NeverSeen

# The claim that has the name, in a line of a journal.
_CLAIMS = {"branch": "execution_branch_id", "grant": "jti", "process": "process_id"}


def has_orchestrator(machine: Machine, orchestrator: str) -> bool:
    """Whether this `client_id` has a branch or a journal here, or the watch knows it."""
    return (
        any(each.orchestrator == orchestrator for each in machine.registry)
        or any(each.orchestrator == orchestrator for each in machine.watching.standings())
        or machine.inforce.config.journal_of(orchestrator).exists()
    )


async def never_seen(machine: Machine, target: str, name: str, crew: str) -> NeverSeen:
    """Where a branch, grant, process or orchestrator is unknown; "" where it is known somewhere.

    A crew is one of the configuration; nor is anything said while the ledger does not answer.
    """
    if target == "orchestrator":
        return "" if has_orchestrator(machine, name) else _here(machine)
    if target not in _CLAIMS or _is_registered(machine, target, name, crew):
        return ""
    folder = machine.inforce.config.state / "issuer"
    if await trio.to_thread.run_sync(was_minted, folder, _CLAIMS[target], name):
        return ""
    return await _never_drew(machine, name, crew) if target == "branch" else _here(machine)


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


def _is_registered(machine: Machine, target: str, name: str, crew: str) -> bool:
    if target == "branch":
        return machine.registry.get(branch_key(crew, name)) is not None
    return any(
        name == (each.grant if target == "grant" else each.process)
        for each in machine.registry
        if each.crew == crew
    )


async def _never_drew(machine: Machine, branch: str, crew: str) -> NeverSeen:
    """Ask the ledger about a branch that is not known here."""
    key = branch_key(crew, branch)
    if machine.clerk.trouble:
        return ""
    try:
        if key in await machine.clerk.use(lambda ledger: ledger.statements([key])):
            return ""
    except LedgerUnavailableError:
        return ""
    is_shared = machine.inforce.config.ledger.engine == "postgresql"
    return "everywhere" if is_shared else _here(machine)


def _here(machine: Machine) -> NeverSeen:
    """Where it was never seen: everywhere if this machine is alone, since no other can have."""
    others = machine.telling.others
    is_alone = others is None or others.in_touch().members == 1
    return "everywhere" if is_alone else "here"
