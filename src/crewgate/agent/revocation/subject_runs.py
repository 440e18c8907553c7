"""Counts the live runs that the revocation of a subject ends, on all machines.

Each machine has seen other runs, and several may have seen the same one. A run is live if a token
of it, or of a branch below it, has not expired or been revoked.
"""

from collections.abc import Iterable

from crewgate.agent.state import AgentState
from crewgate.core.ids import EntityKind, branch_key
from crewgate.core.revocation_kinds import RevocationTarget, subject_keys


def live_runs(agent: AgentState, subject: str, crew: str) -> set[bytes]:
    """Return the keys of the live runs of a subject that this machine has seen.

    An empty `crew` stands for all crews. The revocation of exactly this subject does not count.
    """
    own = RevocationTarget(EntityKind.SUBJECT, subject, crew).key
    found, wall = set[bytes](), agent.clock.wall_ns() // 10**9
    for entry in agent.registry:
        if entry.subject != subject or crew not in {"", entry.crew} or entry.exp <= wall:
            continue
        path = [*agent.registry.ancestry(entry), entry.branch]
        keys = [branch_key(entry.crew, branch) for branch in path]
        ending = [*keys, *(key for key in subject_keys(entry.crew, subject) if key != own)]
        if not any(agent.table.is_revoked(key, entry.iat) for key in ending):
            found.add(keys[0])
    return found


class SubjectRuns:
    """The live runs that end with one request; make it before the request is carried out.

    `unasked` machines did not say in time which runs they have seen.
    """

    def __init__(self, agent: AgentState, targets: Iterable[RevocationTarget]) -> None:
        self._agent = agent
        self.unasked = 0
        self._runs = set[bytes]()
        self._subjects = [
            each
            for each in targets
            # What was revoked before ends no more runs.
            if each.kind is EntityKind.SUBJECT and not agent.table.is_revoked(each.key)
        ]
        for each in self._subjects:
            self._runs |= live_runs(agent, each.name, each.crew)

    def __len__(self) -> int:
        return len(self._runs)

    async def ask_others(self) -> None:
        """Add the runs that other machines have seen, for a bounded time."""
        others = self._agent.fanout.others
        if others is None:
            return
        for each in self._subjects:
            runs, self.unasked = await others.runs_of(each.name, each.crew)
            self._runs |= runs
