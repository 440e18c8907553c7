"""Builds the branch tree: this machine's branches, and the credit that each has spent and has left.

It is pure. It joins copies of the table's records with the registry's entries and with the ledger's
statements of other machines and earlier tables. The numbers of this table come from its records,
so they are those of this moment.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from crewgate import limits
from crewgate._native.records import BranchRecord
from crewgate.agent.branch_registry import BranchEntry
from crewgate.agent.recent_activity import NO_ACTIVITY, RecentActivity
from crewgate.core.budget.ledger_protocol import (
    WINDOW_SECONDS_DAY,
    WINDOW_SECONDS_HOUR,
    AccountStatement,
    LeaseUsage,
    WindowUsage,
)
from crewgate.core.cross_crew_accounts import caller
from crewgate.core.ids import EntityKind, crew_key, table_key
from crewgate.core.policy.policy import CrewPolicy
from crewgate.core.revocation_kinds import NAMED_IN_TOKENS
from crewgate.ipc.admin_messages import BranchState, TreeRow

IsRevoked = Callable[[bytes, int], bool]
_NONE = WindowUsage()
_NO_OVERRUNS: Mapping[bytes, int] = {}
_NO_ACTIVITIES: Mapping[int, RecentActivity] = {}
# The other names of a token that end the token alone, and that many tokens share.
_SHARED_NAMES = [
    (each.kind, each.label)
    for each in NAMED_IN_TOKENS
    if each.kind not in {EntityKind.ORCHESTRATOR, EntityKind.SUBJECT, EntityKind.GRANT}
]


@dataclass(slots=True)
class RemoteUsage:
    """The ledger's amounts (micro-credits) of a level and all below it, without this table's.

    `where` has the idle credit by machine.
    """

    spent: int = 0
    reserved: int = 0
    burned: int = 0
    idle: int = 0
    hour: WindowUsage = _NONE
    day: WindowUsage = _NONE
    where: dict[str, int] = field(default_factory=dict)

    def copy(self) -> "RemoteUsage":
        """Return a copy, to which amounts can be added."""
        return RemoteUsage(
            self.spent, self.reserved, self.burned, self.idle, self.hour, self.day, self.where
        )

    def subtract(self, lease: LeaseUsage) -> None:
        """Take out the amounts of a lease of this table."""
        self.spent = max(0, self.spent - lease.spent)
        self.reserved = max(0, self.reserved - lease.reserved)
        self.burned = max(0, self.burned - lease.burned)
        self.idle = max(0, self.idle - lease.idle)


def beyond(
    statements: Mapping[bytes, AccountStatement],
    own: Mapping[bytes, LeaseUsage],
    lessees: Iterable[tuple[bytes, str, int]] = (),
) -> dict[bytes, RemoteUsage]:
    """Return for each level its statement, without the amounts of this table's `own` leases.

    `lessees` has (branch, machine, idle credit) for each lease of another machine or table.
    """
    found = {
        key: RemoteUsage(each.settled, each.reserved, each.burned, each.leased, each.hour, each.day)
        for key, each in statements.items()
    }

    def path(key: bytes) -> list[RemoteUsage]:
        # Without a record in the table, a branch has no statement here, and its path is unknown.
        levels = (*statements[key].path, key) if key in statements else ()
        return [found[each] for each in levels if each in found]

    for key, lease in own.items():
        for level in path(key):
            level.subtract(lease)
    for key, agent, idle in lessees:
        for level in path(key):
            level.where[agent] = level.where.get(agent, 0) + idle
    return found


_NOTHING = RemoteUsage()


@dataclass(slots=True)
class TreeNode:
    """One record, with the sums of its branch and all below it.

    `here` is the idle credit here, `spent_here` and `reserved_here` are the sums of this table.
    """

    record: BranchRecord
    sums: RemoteUsage
    here: int = 0
    spent_here: int = 0
    reserved_here: int = 0
    children: list[int] = field(default_factory=list)

    @property
    def consumed(self) -> int:
        """The credit that cannot return to the account, unless a call in flight is released."""
        return self.sums.spent + self.sums.reserved + self.sums.burned


def rows(  # noqa: PLR0913 - all that a tree is joined from
    records: Iterable[BranchRecord],
    entries: Mapping[bytes, BranchEntry],
    crews: Iterable[CrewPolicy],
    is_revoked: IsRevoked,
    now: int,
    others: Mapping[bytes, RemoteUsage],
    agent: str = "",
    *,
    overruns: Mapping[bytes, int] = _NO_OVERRUNS,
    activities: Mapping[int, RecentActivity] = _NO_ACTIVITIES,
) -> list[TreeRow]:
    """Return the rows of each crew after the other, and each branch after its parent.

    `now` is the wall clock in seconds, `agent` the name of this machine. `overruns` has the
    micro-credits by the key of the branch. `activities` are by record number.
    """
    nodes = {
        record.number: TreeNode(record, (others.get(record.key) or _NOTHING).copy())
        for record in records
    }
    roots = _sum(nodes)
    known = {crew_key(crew.name): crew for crew in crews}
    lookup = _NameLookup(is_revoked)
    graph = _Graph(nodes, entries, is_revoked, lookup, now, agent, overruns, activities)
    tops = sorted(roots, key=lambda number: _name(nodes[number], known))
    return [row for number in tops for row in graph.crew(number, known)]


def _name(node: TreeNode, crews: Mapping[bytes, CrewPolicy]) -> str:
    crew = crews.get(node.record.key)
    return crew.name if crew else node.record.key.hex()


def _sum(nodes: dict[int, TreeNode]) -> list[int]:
    """Add the amounts of each record to its node and all above; return the topmost nodes."""
    roots = []
    for number, node in nodes.items():
        record = node.record
        for level in (number, *record.parents):
            above = nodes.get(level)
            if above is None:
                continue
            above.sums.spent += record.settled
            above.sums.reserved += record.reserved
            above.sums.burned += record.burned
            above.sums.idle += record.available
            above.here += record.available
            above.spent_here += record.settled
            above.reserved_here += record.reserved
        if record.parents and record.parents[-1] in nodes:
            nodes[record.parents[-1]].children.append(number)
        else:
            roots.append(number)
    return roots


class _NameLookup:
    """Looks up names in the table of revocations; most branches share them with others."""

    def __init__(self, is_revoked: IsRevoked) -> None:
        self._is_revoked = is_revoked
        self._keys: dict[tuple[EntityKind, str, str], bytes] = {}
        self._crews: dict[str, bytes] = {}

    def crew_key(self, crew: str) -> bytes:
        """Return the key of a crew."""
        key = self._crews.get(crew)
        if key is None:
            key = self._crews[crew] = crew_key(crew)
        return key

    def is_revoked(self, kind: EntityKind, crew: str, name: str, issued: int) -> bool:
        """Return whether a name is revoked for what was issued then; an empty one is not."""
        if not name:
            return False
        named = kind, crew, name
        key = self._keys.get(named)
        if key is None:
            key = self._keys[named] = table_key(kind, crew, name.encode())
        return self._is_revoked(key, issued)


@dataclass(frozen=True, slots=True)
class _Graph:
    """A walk from the crews down, which passes on states and limits that hold for a whole path."""

    nodes: dict[int, TreeNode]
    entries: Mapping[bytes, BranchEntry]
    is_revoked: IsRevoked
    names: _NameLookup
    now: int
    machine: str
    overruns: Mapping[bytes, int]
    activities: Mapping[int, RecentActivity]

    def crew(self, number: int, crews: Mapping[bytes, CrewPolicy]) -> list[TreeRow]:
        node, sums = self.nodes[number], self.nodes[number].sums
        crew = crews.get(node.record.key)
        hour, day = _left_windows(node, crew, self.now) if crew else (-1, -1)
        left = min((each for each in (hour, day) if each >= 0), default=-1)
        state: BranchState = "closed" if node.record.closed else "live"
        if left == 0:
            state = "exhausted"
        top = TreeRow(
            crew=_name(node, crews),
            branch="",
            state=state,
            spent=sums.spent,
            reserved=sums.reserved,
            burned=sums.burned,
            left=left,
            left_hour=hour,
            left_day=day,
            leased=sums.idle,
            leased_on=self._where(node),
            spent_here=node.spent_here,
            reserved_here=node.reserved_here,
            leased_here=node.here,
        )
        found = [top]
        # Depth first without recursion: the tree is at most limits.depth_max deep, but wide.
        waiting = [(child, top, limits.quota_micro_max) for child in reversed(node.children)]
        while waiting:
            child, above, remaining = waiting.pop()
            row = self._branch(child, above, remaining)
            found.append(row)
            waiting += [(below, row, row.left) for below in reversed(self.nodes[child].children)]
        return found

    def _branch(self, number: int, above: TreeRow, remaining: int) -> TreeRow:
        node = self.nodes[number]
        record, sums = node.record, node.sums
        entry = self.entries.get(record.key)
        # The registry has lost the branch: show its key.
        if entry is None:
            entry = BranchEntry(crew=above.crew, branch=record.key.hex(), parent=above.branch)
        left = min(max(0, record.quota - node.consumed), remaining)
        state = self._state(record, entry, above, left)
        activity = self.activities.get(number, NO_ACTIVITY)
        return TreeRow(
            crew=entry.crew,
            branch=entry.branch,
            state=state,
            parent=entry.parent,
            orchestrator=entry.orchestrator,
            role=entry.role,
            process=entry.process,
            grant=entry.grant,
            subject=entry.subject,
            quota=record.quota,
            spent=sums.spent,
            reserved=sums.reserved,
            burned=sums.burned,
            left=0 if state in {"revoked", "closed"} else left,
            leased=sums.idle,
            leased_on=self._where(node),
            overrun=self.overruns.get(record.key, 0),
            spent_here=node.spent_here,
            reserved_here=node.reserved_here,
            leased_here=node.here,
            issued=entry.iat,
            calls=activity.calls,
            rule=activity.rule,
            rule_step=activity.rule_step,
            rule_mode=activity.rule_mode,
        )

    def _where(self, node: TreeNode) -> dict[str, int]:
        where = node.sums.where
        if not where:
            return {self.machine: node.here} if node.here else {}
        held = {**where, self.machine: where.get(self.machine, 0) + node.here}
        largest = sorted(held.items(), key=lambda each: -each[1])[: limits.tree_machines_max]
        return {name: idle for name, idle in largest if idle}

    def _state(
        self, record: BranchRecord, entry: BranchEntry, above: TreeRow, left: int
    ) -> BranchState:
        if above.state == "revoked" or self._is_branch_revoked(record.key, entry):
            return "revoked"
        if record.closed or (above.branch and above.state == "closed"):
            return "closed"
        if self._is_token_revoked(entry):
            return "token-revoked"
        if left == 0:
            return "exhausted"
        if 0 < entry.exp < self.now:
            return "expired"
        return "live"

    def _is_branch_revoked(self, key: bytes, entry: BranchEntry) -> bool:
        """Return whether the branch, its orchestrator or its subject is revoked.

        The orchestrator of a cross-crew call belongs to the calling crew.
        """
        crew, issued, is_revoked = entry.crew, entry.iat, self.names.is_revoked
        source = caller(crew)
        return (
            self.is_revoked(key, issued)
            or is_revoked(EntityKind.ORCHESTRATOR, crew, entry.orchestrator, issued)
            or (
                source != crew
                and is_revoked(EntityKind.ORCHESTRATOR, source, entry.orchestrator, issued)
            )
            or is_revoked(EntityKind.SUBJECT, crew, entry.subject, issued)
            or is_revoked(EntityKind.SUBJECT, "", entry.subject, issued)
        )

    def _is_token_revoked(self, entry: BranchEntry) -> bool:
        """Return whether the newest grant is revoked; a later grant or a child's may be valid."""
        # The branch is an ancestor that never called, so its grants are unknown.
        if not entry.grant:
            return False
        crew, issued = entry.crew, entry.iat
        if self.is_revoked(self.names.crew_key(crew), issued):
            return True
        # No other branch has this grant, so its key is not remembered.
        grant = table_key(EntityKind.GRANT, crew, entry.grant.encode())
        return self.is_revoked(grant, issued) or any(
            self.names.is_revoked(kind, crew, getattr(entry, label), issued)
            for kind, label in _SHARED_NAMES
        )


def _left_windows(node: TreeNode, crew: CrewPolicy, now: int) -> tuple[int, int]:
    """Return what the crew may still spend in this hour and this day; -1 without a limit.

    The ledger counts idle leases as charged, but the crew can still spend them.
    """
    unbounded = CrewPolicy(name="", issuer="")

    def left(window: WindowUsage, seconds: int, allowance_max: int, unbounded_max: int) -> int:
        if allowance_max == unbounded_max:
            return -1
        used = window.charged if window.number == now // seconds else 0
        return max(0, allowance_max - max(0, used - node.sums.idle))

    return (
        left(node.sums.hour, WINDOW_SECONDS_HOUR, crew.hourly_max, unbounded.hourly_max),
        left(node.sums.day, WINDOW_SECONDS_DAY, crew.daily_max, unbounded.daily_max),
    )
