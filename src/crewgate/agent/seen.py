"""Whether what a person names was ever seen: what was not is likely mistyped.

This machine's registry knows the branches that its table has, with the newest grant of each; the
ledger knows every branch that drew credit, on each machine that shares it. Other machines are not
asked.
"""

from crewgate.agent.machine import Machine
from crewgate.core.ids import branch_key
from crewgate.errors import LedgerUnavailableError
from crewgate.link.owner_messages import NeverSeen


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
    if target == "branch":
        return await _never_seen_branch(machine, branch_key(crew, name))
    if target == "orchestrator":
        return "" if has_orchestrator(machine, name) else _here(machine)
    if target not in {"grant", "process"}:
        return ""
    is_known = any(
        name == (each.grant if target == "grant" else each.process)
        for each in machine.registry
        if each.crew == crew
    )
    return "" if is_known else _here(machine)


async def _never_seen_branch(machine: Machine, key: bytes) -> NeverSeen:
    if machine.registry.get(key) is not None or machine.clerk.trouble:
        return ""
    try:
        if key in await machine.clerk.use(lambda ledger: ledger.statements([key])):
            return ""
    except LedgerUnavailableError:
        return ""
    is_shared = machine.inforce.config.ledger.engine == "postgresql"
    return "everywhere" if is_shared else _here(machine)


def _here(machine: Machine) -> NeverSeen:
    """Of a machine that is alone, nobody else can have seen it."""
    others = machine.telling.others
    is_alone = others is None or others.in_touch().members == 1
    return "everywhere" if is_alone else "here"
