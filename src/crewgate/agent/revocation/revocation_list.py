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

    With `crew`, only rows of a crew and of its accounts match.
    """
    matching = [row for row in _rows(found) if crew in {"", row.crew, caller(row.crew)}]
    return heapq.nlargest(limit, matching, key=order)[::-1], len(matching)


def order(row: RevocationRow) -> tuple[int, str]:
    """Return the key by which rows are sorted: by time, and those of one second by key."""
    return row.at, row.key


def _rows(found: RevocationSnapshot) -> Iterator[RevocationRow]:
    own = set[str]()
    for entry in found.own:
        if entry.expires > found.wall:
            own.add(entry.key)
            yield _own(entry, found)
    for each in found.remote:
        if each.entry.expires > found.wall and each.entry.key.hex() not in own:
            yield _remote(each, found)


def _own(entry: StoredRevocation, found: RevocationSnapshot) -> RevocationRow:
    rules = KINDS.get(entry.kind)
    label = EntityKind.BRANCH.label if rules is None else rules.label
    has_own_end = rules is not None and rules.has_own_end
    at = entry.at or (0 if has_own_end else max(0, entry.expires - limits.revocation_seconds))
    return RevocationRow(
        key=entry.key,
        kind=label,
        name=entry.branch or entry.name,
        crew=entry.crew,
        role=found.branches.get(bytes.fromhex(entry.key), _BRANCH).role,
        at=at,
        expires=entry.expires,
        before=_before(entry.before),
        by=entry.by,
        reason=entry.reason,
        origin=found.machine,
        coarsened=entry.coarsened,
    )


def _remote(each: RemoteRevocation, found: RevocationSnapshot) -> RevocationRow:
    entry, origin = each.entry, found.names.get(each.origin, each.origin.hex())
    known = found.branches.get(entry.key, _BRANCH)
    crew = known.crew or found.crews.get(entry.crew, "")
    is_crew = entry.kind == EntityKind.CREW
    if is_crew:
        crew = found.crews.get(entry.key, "")
    return RevocationRow(
        key=entry.key.hex(),
        kind=KINDS[entry.kind].label,
        name=crew if is_crew else known.branch,
        crew=crew,
        role=known.role,
        at=each.at,
        expires=entry.expires,
        before=_before(entry.before),
        by=f"gateway/{origin}",
        origin=origin,
    )


def _before(before: int) -> int:
    return 0 if before >= limits.time_seconds_max else before


def in_force(agent: AgentState, keys: Iterable[bytes]) -> list[bool]:
    """Return for each key whether the table of this machine has it."""
    return [agent.table.revoked_before(key) is not None for key in keys]
