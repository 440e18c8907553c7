"""Lists the revocations in force, with what this machine knows about each.

It knows the names and the reasons of its own ones. Of another machine's it knows the key and the
origin, and the name of a branch that it has seen.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from crewgate import limits
from crewgate.agent.branch_registry import BranchEntry
from crewgate.agent.revocation.remote_revocations import RemoteRevocation
from crewgate.agent.revocation.types import StoredRevocation
from crewgate.agent.state import AgentState
from crewgate.core.actors import ActorKind
from crewgate.core.cross_crew_accounts import caller
from crewgate.core.ids import EntityKind
from crewgate.core.revocation_kinds import KINDS
from crewgate.ipc.revocation_messages import RevocationRow

_BRANCH = BranchEntry(crew="", branch="")


class RevocationSnapshot(NamedTuple):
    """Copies of what a list is made from, so that a thread can make it.

    `branches` are those of the registry by key, `crews` the names of the crews by key, `machine` is
    the name of this machine, and `names` has those of the members. `wall` is seconds since 1970.
    """

    own: Sequence[StoredRevocation]
    remote: Sequence[RemoteRevocation]
    branches: Mapping[bytes, BranchEntry]
    crews: Mapping[bytes, str]
    machine: str
    names: Mapping[bytes, str]
    wall: int


def snapshot(agent: AgentState) -> RevocationSnapshot:
    """Return copies of the present state; at most 20 ms with a full table."""
    remote, others = list(agent.remote_revocations), agent.fanout.others
    origins = {each.origin for each in remote} if others is not None else set()
    return RevocationSnapshot(
        own=list(agent.revocations),
        remote=remote,
        branches=agent.registry.snapshot(),
        crews={key: crew.name for key, crew in agent.revocations.by_key.items()},
        machine=agent.machine_name,
        names={each: others.name(each) for each in origins} if others is not None else {},
        wall=agent.believed().wall,
    )


def newest(found: RevocationSnapshot, crew: str, limit: int) -> tuple[list[RevocationRow], int]:
    """Return the newest `limit` rows in force, the oldest of them first; and how many match.

    With `crew`, only rows of a crew and of its accounts match. Of a million revocations, it makes
    only the rows that it returns.
    """
    matching = _Matching(found, crew)
    listed = heapq.nlargest(limit, matching, key=lambda each: each[:2])
    return [_row(entry, found) for _, _, entry in reversed(listed)], matching.count


def _row(entry: StoredRevocation | RemoteRevocation, found: RevocationSnapshot) -> RevocationRow:
    return _own(entry, found) if isinstance(entry, StoredRevocation) else _remote(entry, found)


class _Matching:
    """Iterates over the revocations of a crew in force, and counts them: time, key and entry."""

    def __init__(self, found: RevocationSnapshot, crew: str) -> None:
        self._found = found
        self._crew = crew
        self.count = 0

    def __iter__(self) -> Iterator[tuple[int, str, StoredRevocation | RemoteRevocation]]:
        wall, remote = self._found.wall, self._found.remote
        also_remote = {each.entry.key.hex() for each in remote}
        own = set[str]()
        for entry in self._found.own:
            if entry.expires > wall and self._is_of_crew(entry.crew):
                self.count += 1
                yield _ordered(entry), entry.key, entry
            if entry.key in also_remote:
                own.add(entry.key)
        for each in remote:
            key = each.entry.key.hex()
            if each.entry.expires <= wall or key in own:
                continue
            if self._is_of_crew(_crew(each, self._found)):
                self.count += 1
                yield each.at, key, each

    def _is_of_crew(self, crew: str) -> bool:
        return not self._crew or self._crew in {crew, caller(crew)}


def _ordered(entry: StoredRevocation) -> int:
    """Return when a revocation of this machine was ordered; 0 if an earlier version did not say."""
    rules = KINDS.get(entry.kind)
    has_own_end = rules is not None and rules.has_own_end
    return entry.at or (0 if has_own_end else max(0, entry.expires - limits.revocation_seconds))


def _own(entry: StoredRevocation, found: RevocationSnapshot) -> RevocationRow:
    rules = KINDS.get(entry.kind)
    return RevocationRow(
        key=entry.key,
        kind=EntityKind.BRANCH.label if rules is None else rules.label,
        name=entry.branch or entry.name,
        crew=entry.crew,
        role=found.branches.get(bytes.fromhex(entry.key), _BRANCH).role,
        at=_ordered(entry),
        expires=entry.expires,
        before=_before(entry.before),
        by=entry.by,
        reason=entry.reason,
        origin=found.machine,
        coarsened=entry.coarsened,
    )


def _crew(each: RemoteRevocation, found: RevocationSnapshot) -> str:
    """Return the crew of another machine's revocation, as far as this machine knows it."""
    if each.entry.kind == EntityKind.CREW:
        return found.crews.get(each.entry.key, "")
    known = found.branches.get(each.entry.key)
    return known.crew if known is not None else found.crews.get(each.entry.crew, "")


def _remote(each: RemoteRevocation, found: RevocationSnapshot) -> RevocationRow:
    entry, origin = each.entry, found.names.get(each.origin, each.origin.hex())
    known, crew = found.branches.get(entry.key, _BRANCH), _crew(each, found)
    return RevocationRow(
        key=entry.key.hex(),
        kind=KINDS[entry.kind].label,
        name=crew if entry.kind == EntityKind.CREW else known.branch,
        crew=crew,
        role=known.role,
        at=each.at,
        expires=entry.expires,
        before=_before(entry.before),
        by=ActorKind.GATEWAY.named(origin),
        origin=origin,
    )


def _before(before: int) -> int:
    return 0 if before >= limits.time_seconds_max else before


def in_force(agent: AgentState, keys: Iterable[bytes]) -> list[bool]:
    """Return for each key whether the table of this machine has it."""
    return [agent.table.revoked_before(key) is not None for key in keys]
