"""Makes the rows of the branch tree: what a branch has spent and has left, and its state.

It is pure. It joins a copy of a record of the table with the registry's entry and with the ledger's
statement of other machines and earlier tables. The numbers of this table come from its records, so
they are those of this moment.
"""

from dataclasses import dataclass, field

from crewgate import limits
from crewgate._native.records import BranchRecord
from crewgate.agent.branch_registry import BranchEntry
from crewgate.agent.branch_tree.inputs import IsRevoked, TreeInputs
from crewgate.agent.branch_tree.remote_usage import RemoteUsage
from crewgate.agent.recent_activity import NO_ACTIVITY, RecentActivity
from crewgate.core.budget.ledger_protocol import (
    WINDOW_SECONDS_DAY,
    WINDOW_SECONDS_HOUR,
    WindowUsage,
)
from crewgate.core.cross_crew_accounts import caller
from crewgate.core.ids import EntityKind, crew_key, table_key
from crewgate.core.policy.policy import CrewPolicy
from crewgate.core.revocation_kinds import NAMED_IN_TOKENS
from crewgate.ipc.admin_messages import BranchState, TreeRow

_UNLIMITED = CrewPolicy(name="", issuer="")
# The other names of a token that end the token alone, and that many tokens share.
_SHARED_NAMES = [
    (each.kind, each.label)
    for each in NAMED_IN_TOKENS
    if each.kind not in {EntityKind.ORCHESTRATOR, EntityKind.SUBJECT, EntityKind.GRANT}
]


@dataclass(slots=True)
class TreeNode:
    """One record, and all that its row is made from; amounts are micro-credits.

    `spent`, `reserved`, `burned` and `idle` are the sums that this table has of the branch and all
    below it. `others` are the amounts beyond this table. `total_then` is the `total` at the moment
    that `others` are of. `row` was made from all that.
    """

    record: BranchRecord
    others: RemoteUsage
    spent: int = 0
    reserved: int = 0
    burned: int = 0
    idle: int = 0
    total_then: int = 0
    children: set[int] = field(default_factory=set)
    entry: BranchEntry | None = None
    activity: RecentActivity = NO_ACTIVITY
    overrun: int = 0
    row: TreeRow | None = None
    changed: int = 0  # the reading that changed the row

    def add(self, record: BranchRecord, times: int = 1) -> None:
        """Add the amounts of a record of the branch or below it; take them out with -1."""
        self.spent += times * record.settled
        self.reserved += times * record.reserved
        self.burned += times * record.burned
        self.idle += times * record.available

    @property
    def consumed(self) -> int:
        """The credit that cannot return to the account, unless a call in flight is released."""
        beyond = self.others.spent + self.others.reserved + self.others.burned
        return beyond + self.spent + self.reserved + self.burned

    @property
    def total(self) -> int:
        """All credit of the level, as far as it is known: consumed or idle."""
        return self.consumed + self.all_idle

    @property
    def all_idle(self) -> int:
        """The idle credit in the leases of all machines."""
        return self.others.idle + self.idle


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


class RowMaker:
    """Makes rows of one reading."""

    def __init__(self, found: TreeInputs) -> None:
        self._found = found
        self._names = _NameLookup(found.is_revoked)
        self._crews = {crew_key(each.name): each for each in found.crews}

    def crew(self, node: TreeNode) -> TreeRow:
        """Return the row of a crew."""
        crew, others = self._crews.get(node.record.key), node.others
        hour, day = _left_windows(node, crew, self._found.now) if crew else (-1, -1)
        left = min((each for each in (hour, day) if each >= 0), default=-1)
        state: BranchState = "closed" if node.record.closed else "live"
        if left == 0:
            state = "exhausted"
        return TreeRow(
            crew=crew.name if crew else node.record.key.hex(),
            branch="",
            state=state,
            spent=others.spent + node.spent,
            reserved=others.reserved + node.reserved,
            burned=others.burned + node.burned,
            left=left,
            left_hour=hour,
            left_day=day,
            leased=node.all_idle,
            leased_on=self._where(node),
            spent_here=node.spent,
            reserved_here=node.reserved,
            leased_here=node.idle,
        )

    def branch(self, node: TreeNode, above: TreeRow) -> TreeRow:
        """Return the row of a branch; its state and what is left depend on the row above."""
        record, others = node.record, node.others
        # The registry has lost the branch: show its key.
        entry = node.entry or BranchEntry(
            crew=above.crew, branch=record.key.hex(), parent=above.branch
        )
        # What a crew may spend in its windows is no bound of a branch.
        remaining = above.left if above.branch else limits.quota_micro_max
        left = min(max(0, record.quota - node.consumed), remaining)
        state = self._state(record, entry, above, left)
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
            spent=others.spent + node.spent,
            reserved=others.reserved + node.reserved,
            burned=others.burned + node.burned,
            left=0 if state in {"revoked", "closed"} else left,
            leased=node.all_idle,
            leased_on=self._where(node),
            overrun=node.overrun,
            spent_here=node.spent,
            reserved_here=node.reserved,
            leased_here=node.idle,
            issued=entry.iat,
            calls=node.activity.calls,
            rule=node.activity.rule,
            rule_step=node.activity.rule_step,
            rule_mode=node.activity.rule_mode,
        )

    def _where(self, node: TreeNode) -> dict[str, int]:
        where, machine = node.others.where, self._found.machine
        if not where:
            return {machine: node.idle} if node.idle else {}
        held = {**where, machine: where.get(machine, 0) + node.idle}
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
        if 0 < entry.exp < self._found.now:
            return "expired"
        return "live"

    def _is_branch_revoked(self, key: bytes, entry: BranchEntry) -> bool:
        """Return whether the branch, its orchestrator or its subject is revoked.

        The orchestrator of a cross-crew call belongs to the calling crew.
        """
        crew, issued, is_revoked = entry.crew, entry.iat, self._names.is_revoked
        source = caller(crew)
        return (
            self._found.is_revoked(key, issued)
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
        if self._found.is_revoked(self._names.crew_key(crew), issued):
            return True
        # No other branch has this grant, so its key is not remembered.
        grant = table_key(EntityKind.GRANT, crew, entry.grant.encode())
        return self._found.is_revoked(grant, issued) or any(
            self._names.is_revoked(kind, crew, getattr(entry, label), issued)
            for kind, label in _SHARED_NAMES
        )


def _left_windows(node: TreeNode, crew: CrewPolicy, now: int) -> tuple[int, int]:
    """Return what the crew may still spend in this hour and this day; -1 without a limit.

    The ledger counts idle leases as charged, but the crew can still spend them. What this machine
    has drawn since the ledger was read is charged too.
    """
    drawn = node.total - node.total_then

    def left(window: WindowUsage, seconds: int, allowance_max: int, unlimited: int) -> int:
        if allowance_max == unlimited:
            return -1
        used = drawn + (window.charged if window.number == now // seconds else 0)
        return max(0, allowance_max - max(0, used - node.all_idle))

    return (
        left(node.others.hour, WINDOW_SECONDS_HOUR, crew.hourly_max, _UNLIMITED.hourly_max),
        left(node.others.day, WINDOW_SECONDS_DAY, crew.daily_max, _UNLIMITED.daily_max),
    )
