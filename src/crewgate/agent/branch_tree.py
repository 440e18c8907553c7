"""The auth graph: who is on this machine, what each branch spent and what it may still spend.

Pure: joins copies of the table's records with what the registry knows and what the ledger knows of
other machines and of tables before this one. What this table holds comes from its records, so that
the tree is of this moment.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from crewgate import limits
from crewgate._native.records import BranchRecord
from crewgate.agent.branch_registry import BranchEntry
from crewgate.core.budget.ledger_protocol import (
    WINDOW_SECONDS_DAY,
    WINDOW_SECONDS_HOUR,
    AccountStatement,
    LeaseStatement,
    WindowUsage,
)
from crewgate.core.cross_crew_ids import caller
from crewgate.core.ids import EntityKind, crew_key, table_key
from crewgate.core.policy.policy import CrewPolicy
from crewgate.core.revocation_kinds import NAMED_IN_TOKENS
from crewgate.ipc.admin_messages import BranchState, TreeRow

IsRevoked = Callable[[bytes, int], bool]


_NONE = WindowUsage()
_NO_OVERRUNS: Mapping[bytes, int] = {}


class RemoteUsage(NamedTuple):
    """What the ledger has of a level that is not in this table, all below included."""

    spent: int = 0
    reserved: int = 0
    burned: int = 0
    idle: int = 0
    hour: WindowUsage = _NONE
    day: WindowUsage = _NONE
    where: Mapping[str, int] = {}  # of what is idle, by machine


def beyond(
    statements: Mapping[bytes, AccountStatement],
    own: Mapping[bytes, LeaseStatement],
    lessees: Iterable[tuple[bytes, str, int]] = (),
) -> dict[bytes, RemoteUsage]:
    """Of each level its statement, less what was told of this table's `own` leases.

    `lessees` are (branch, machine, idle credit) of all other leases.
    """
    left = {
        key: [each.settled, each.reserved, each.burned, each.leased]
        for key, each in statements.items()
    }
    for key, told in own.items():
        if key not in statements:  # its record is gone, so it is told in full
            continue
        amounts = told.spent, told.reserved, told.burned, told.idle
        for level in (*statements[key].path, key):
            if level in left:
                left[level] = [sum_ - part for sum_, part in zip(left[level], amounts, strict=True)]
    where: dict[bytes, dict[str, int]] = {}
    for key, agent, idle in lessees:
        for level in (*statements[key].path, key) if key in statements else ():
            held = where.setdefault(level, {})
            held[agent] = held.get(agent, 0) + idle
    found = {}
    for key, sums in left.items():
        spent, reserved, burned, idle = (max(0, amount) for amount in sums)
        windows = statements[key].hour, statements[key].day
        found[key] = RemoteUsage(spent, reserved, burned, idle, *windows, where.get(key, {}))
    return found


@dataclass(slots=True)
class TreeNode:
    """One record with the sums of itself and all below it."""

    record: BranchRecord
    spent: int = 0
    reserved: int = 0
    burned: int = 0
    idle: int = 0
    hour: WindowUsage = _NONE
    day: WindowUsage = _NONE
    where: Mapping[str, int] = field(default_factory=dict)
    here: int = 0  # of what is idle
    children: list[int] = field(default_factory=list)

    @property
    def consumed(self) -> int:
        """What cannot come back to the account any more, unless a call in flight is released."""
        return self.spent + self.reserved + self.burned


def rows(
    records: Iterable[BranchRecord],
    entries: Mapping[bytes, BranchEntry],
    crews: Iterable[CrewPolicy],
    is_revoked: IsRevoked,
    now: int,
    others: Mapping[bytes, RemoteUsage],
    agent: str = "",
    overruns: Mapping[bytes, int] = _NO_OVERRUNS,
) -> list[TreeRow]:
    """Crew by crew, each branch after its parent.

    `now` is the wall clock in seconds, `agent` the name of this one; `overruns` are those of
    branches by their keys, in micro-credits.
    """
    nodes = {
        record.number: TreeNode(record, *others.get(record.key, RemoteUsage()))
        for record in records
    }
    roots = _sum(nodes)
    known = {crew_key(crew.name): crew for crew in crews}
    graph = _Graph(nodes, entries, is_revoked, now, agent, overruns)
    tops = sorted(roots, key=lambda number: _name(nodes[number], known))
    return [row for number in tops for row in graph.crew(number, known)]


def _name(node: TreeNode, crews: Mapping[bytes, CrewPolicy]) -> str:
    crew = crews.get(node.record.key)
    return crew.name if crew else node.record.key.hex()


def _sum(nodes: dict[int, TreeNode]) -> list[int]:
    """Add every record to itself and what stands above it; returns the topmost."""
    roots = []
    for number, node in nodes.items():
        record = node.record
        for level in (number, *record.parents):
            above = nodes.get(level)
            if above is None:
                continue
            above.spent += record.settled
            above.reserved += record.reserved
            above.burned += record.burned
            above.idle += record.available
            above.here += record.available
        if record.parents and record.parents[-1] in nodes:
            nodes[record.parents[-1]].children.append(number)
        else:
            roots.append(number)
    return roots


@dataclass(frozen=True, slots=True)
class _Graph:
    """A walk over the nodes that carries down what holds for a whole path."""

    nodes: dict[int, TreeNode]
    entries: Mapping[bytes, BranchEntry]
    is_revoked: IsRevoked
    now: int
    machine: str
    overruns: Mapping[bytes, int]

    def crew(self, number: int, crews: Mapping[bytes, CrewPolicy]) -> list[TreeRow]:
        node = self.nodes[number]
        crew = crews.get(node.record.key)
        left = _allowance(node, crew, self.now) if crew else None
        state: BranchState = "closed" if node.record.closed else "live"
        if left is not None and left <= 0:
            state = "exhausted"
        top = TreeRow(
            crew=_name(node, crews),
            branch="",
            state=state,
            spent=node.spent,
            reserved=node.reserved,
            burned=node.burned,
            left=-1 if left is None else max(0, left),
            leased=node.idle,
            leased_on=self._where(node),
        )
        found = [top]
        # Depth first without recursion: the tree is at most limits.depth_max deep, but wide.
        waiting = [(child, top, left) for child in reversed(node.children)]
        while waiting:
            child, above, remaining = waiting.pop()
            row = self._branch(child, above, remaining)
            found.append(row)
            waiting += [(below, row, row.left) for below in reversed(self.nodes[child].children)]
        return found

    def _branch(self, number: int, above: TreeRow, remaining: int | None) -> TreeRow:
        node = self.nodes[number]
        record = node.record
        entry = self.entries.get(record.key)
        if entry is None:  # the table knows it and the registry lost it: show that it is there
            entry = BranchEntry(crew=above.crew, branch=record.key.hex(), parent=above.branch)
        left = max(0, record.quota - node.consumed)
        left = left if remaining is None else min(left, remaining)
        return TreeRow(
            crew=entry.crew,
            branch=entry.branch,
            state=self._state(record, entry, above, left),
            parent=entry.parent,
            orchestrator=entry.orchestrator,
            role=entry.role,
            process=entry.process,
            grant=entry.grant,
            quota=record.quota,
            spent=node.spent,
            reserved=node.reserved,
            burned=node.burned,
            left=left,
            leased=node.idle,
            leased_on=self._where(node),
            overrun=self.overruns.get(record.key, 0),
        )

    def _where(self, node: TreeNode) -> dict[str, int]:
        """The machines that hold most of what is leased and idle."""
        held = {**node.where, self.machine: node.where.get(self.machine, 0) + node.here}
        most = sorted(held.items(), key=lambda each: -each[1])[: limits.tree_machines_max]
        return {name: idle for name, idle in most if idle}

    def _state(
        self, record: BranchRecord, entry: BranchEntry, above: TreeRow, left: int
    ) -> BranchState:
        if above.state == "revoked" or self._is_dead(record.key, entry):
            return "revoked"
        if record.closed or (above.branch and above.state == "closed"):
            return "closed"
        if self._is_token_dead(entry):
            return "token-revoked"
        if left == 0 or record.refused is not None:
            return "exhausted"
        if 0 < entry.exp < self.now:
            return "expired"
        return "live"

    def _is_dead(self, key: bytes, entry: BranchEntry) -> bool:
        """The branch is revoked for good, or it had ended with its orchestrator.

        What crosses on a certificate ends with its orchestrator, which is of the crew that calls.
        """
        crews = {entry.crew, caller(entry.crew)}
        named = ((EntityKind.ORCHESTRATOR, crew, entry.orchestrator) for crew in crews)
        return self.is_revoked(key, entry.iat) or self._any_revoked(named, entry)

    def _is_token_dead(self, entry: BranchEntry) -> bool:
        """Its newest grant is, and nothing else: a later one, or a child's, would be admitted."""
        if not entry.grant:  # an ancestor that never called: nobody knows what it holds
            return False
        crew = entry.crew
        named = (
            (each.kind, crew, getattr(entry, each.label))
            for each in NAMED_IN_TOKENS
            if each.kind is not EntityKind.ORCHESTRATOR
        )
        return self.is_revoked(crew_key(crew), entry.iat) or self._any_revoked(named, entry)

    def _any_revoked(
        self, named: Iterable[tuple[EntityKind, str, str]], entry: BranchEntry
    ) -> bool:
        """By the age of its newest grant."""
        return any(
            name and self.is_revoked(table_key(kind, crew, name.encode()), entry.iat)
            for kind, crew, name in named
        )


def _allowance(node: TreeNode, crew: CrewPolicy, now: int) -> int | None:
    """What the crew may still spend in this hour and day; None without such a ceiling.

    Idle leases count as charged there; they can still be spent.
    """
    unbounded, left = CrewPolicy(name="", issuer=""), []
    for window, seconds, most, none in (
        (node.hour, WINDOW_SECONDS_HOUR, crew.hourly_max, unbounded.hourly_max),
        (node.day, WINDOW_SECONDS_DAY, crew.daily_max, unbounded.daily_max),
    ):
        if most != none:
            used = window.charged if window.number == now // seconds else 0
            left.append(most - max(0, used - node.idle))
    return min(left) if left else None
