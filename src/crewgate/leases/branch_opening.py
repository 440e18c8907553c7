"""Opens a branch with its ancestors: the crew first, then root … parent, then the branch.

Decides which levels are new, whether the crew may have more, and which quota governs each level.
Afterwards the ledger and the table agree on every level.
"""

import enum
from collections.abc import Generator

import msgspec

from crewgate import limits
from crewgate._native.table_owner import OwnedTable
from crewgate.core import ids
from crewgate.core.budget.ledger_protocol import (
    BranchesOpened,
    BranchPath,
    BranchPathLevel,
    CrewDrawLimits,
    LeaseUsage,
    OpenBranches,
    OpenedLevel,
    Operation,
    OperationResult,
    PathMismatch,
    ReturnCredit,
)
from crewgate.core.ids import EntityKind
from crewgate.core.policy.policy import CrewPolicy
from crewgate.core.tokens.grant import Grant
from crewgate.errors import TableFullError
from crewgate.leases.branch_count_limiter import BranchCountLimiter
from crewgate.leases.lease_index import LeaseIndex, LeaseRecord


class DrawResult(enum.Enum):
    """How a draw ended; only after GRANTED can the gate decide otherwise on the same call.

    - EXHAUSTED: a level cannot pay. The table has the refusal, so the gate refuses inline now.
    - CONTENDED: other leases or calls hold the credit and may give it back; try again.
    - FULL: the table has no free record.
    - SHARE: the crew has used up its share of records, of new branches or of live branches.
    - HELD: the orchestrator of the branch is throttled or quarantined.
    - CLOSED: the branch or a level above it is closed.
    - MISMATCH: the ledger or the table knows a level of the branch under another path.
    """

    GRANTED = "granted"
    EXHAUSTED = "exhausted"
    CONTENDED = "contended"
    FULL = "full"
    SHARE = "share"
    HELD = "held"
    CLOSED = "closed"
    MISMATCH = "mismatch"


class AppliedQuotaChanges(msgspec.Struct, frozen=True):
    """The levels whose quota an opening changed.

    `raised` are their keys; `lowered` adds the micro-credits that are charged beyond the new quota.
    """

    raised: tuple[bytes, ...]
    lowered: tuple[tuple[bytes, int], ...]


NOTHING = AppliedQuotaChanges((), ())


class BranchOpener:
    """Opens the branches of one table; the caller brings the answers of the ledger."""

    def __init__(self, table: OwnedTable, index: LeaseIndex, holder: str) -> None:
        self._table = table
        self._index = index
        self._holder = holder
        self._allowances: dict[bytes, CrewDrawLimits] = {}
        self.shares = BranchCountLimiter(table.geometry.branches)
        # The total given back of branches without a record, by key (`declined`).
        self._declined: dict[bytes, int] = {}

    def open(
        self, grant: Grant, crew: CrewPolicy, need: int, now: float, now_boot_ns: int
    ) -> Generator[Operation, OperationResult, AppliedQuotaChanges | DrawResult]:
        """Give every level a record that says what the ledger says of the level.

        Yields `OpenBranches` unless the records already have what the ledger would answer. A branch
        without a record also draws the `need` of its first call. A `DrawResult` means that nothing
        changed, except that ancestors keep the records they got before the table was full.
        """
        path = path_of(grant, crew)
        refused = self._find_refusal(path, crew, now, now_boot_ns)
        if refused is not None:
            return refused
        if self._is_known(path):
            self._extend(path, grant, now, now_boot_ns)
            return NOTHING
        key = ids.table_key(EntityKind.KEY, grant.caller, grant.kid.encode())
        is_new = self._index.get(grant.branch_key) is None
        first = need if is_new else 0
        opened = yield OpenBranches(path, self._holder, self._table.life, (key,), first)
        if isinstance(opened, PathMismatch):
            return DrawResult.MISMATCH
        if not isinstance(opened, BranchesOpened):
            return DrawResult.CLOSED
        # Other draws may have opened or closed levels while the ledger was answering.
        refused = self._find_refusal(path, crew, now, now_boot_ns)
        if refused is not None:
            return (yield from self._decline(opened, refused))
        self._allowances[path.crew] = path.allowance
        before = [self._quota(governing) for governing in opened.grants]
        try:
            for depth, governing in enumerate(opened.grants):
                record = self._index.get(governing.key)
                if record is None:
                    self._insert(path.keys[:depth], governing, grant, now, now_boot_ns)
                else:
                    self._amend(record, governing, grant, now, now_boot_ns)
        except TableFullError:
            return (yield from self._decline(opened, DrawResult.FULL))
        if is_new:
            self.adopt(grant.branch_key, opened.grants[-1].lease)
            self._table.expect(self._index[grant.branch_key].number, opened.left)
        changes = list(zip(before, opened.grants, strict=True))
        return AppliedQuotaChanges(
            tuple(new.key for quota, new in changes if new.quota > quota),
            tuple(
                (new.key, new.overdrawn)
                for quota, new in changes
                if new.overdrawn and new.quota < quota
            ),
        )

    def adopt(self, key: bytes, report: LeaseUsage) -> None:
        """Put into a branch's lease what the ledger has granted and the table never received.

        This happens if a descendant opened the record of the branch while its own opening was under
        way, or if the agent was killed between the ledger's answer and the table's record.
        """
        lease = self._index[key]
        record = self._table.branch(lease.number)
        if record is None:
            raise KeyError(key.hex())
        room = limits.lease_micro_max - (record.granted - record.given_back - record.settled)
        missing = min(report.granted - (lease.granted - lease.overdrawn), room)
        if missing > 0:
            self._table.overdraw(lease.number, missing)
            lease.granted += missing
        # The ledger has answered draws up to `report.seq`: use their numbers up here too.
        for _ in range(report.seq - record.sequence):
            self._table.begin_draw(lease.number, 1)
            self._table.refuse(lease.number, 0, 0, 0, 0)
        self._index.lease(lease)

    def declined(self, opened: BranchesOpened) -> ReturnCredit | None:
        """Return the operation that gives back credit which an unused opening has drawn.

        None if nothing was drawn, or if the branch has a record meanwhile: then its lease takes the
        credit, and `give_back_idle` gives it back if no call uses it.
        """
        branch = opened.grants[-1]
        if self._index.get(branch.key) is not None:
            self.adopt(branch.key, branch.lease)
            return None
        if not branch.lease.idle:
            return None
        returned = branch.lease.given_back + branch.lease.idle
        if len(self._declined) >= limits.draw_exchanges_max:
            # The credit of the oldest entry has returned by now.
            del self._declined[next(iter(self._declined))]
        self._declined[branch.key] = returned
        return ReturnCredit(branch.key, self._holder, self._table.life, returned)

    def _decline(
        self, opened: BranchesOpened, status: DrawResult
    ) -> Generator[Operation, OperationResult, DrawResult]:
        returned = self.declined(opened)
        if returned is not None:
            yield returned
        return status

    def unopened(self, grant: Grant, crew: CrewPolicy) -> list[bytes]:
        """Return the levels of the grant's path that have no record, the deepest first."""
        keys = reversed(path_of(grant, crew).keys)
        return [key for key in keys if self._index.get(key) is None]

    def keep(self, record: LeaseRecord) -> None:
        """Add a record that was in the table when the agent started."""
        self._index.add(record)
        if record.path:
            grant_ends = record.expires - limits.branch_memory_seconds
            share = self.shares.kept(record.path[0], record.key, grant_ends)
            if record.closed:
                share.until.pop(record.key, None)

    def _find_refusal(
        self, path: BranchPath, crew: CrewPolicy, now: float, now_boot_ns: int
    ) -> DrawResult | None:
        keys, unknown = path.keys, 0
        for depth, key in enumerate(keys):
            record = self._index.get(key)
            if record is None:
                unknown += depth > 0
            elif record.path != keys[:depth]:
                return DrawResult.MISMATCH
            elif record.closed:
                return DrawResult.CLOSED
        is_over = unknown and self.shares.bound(path.crew, crew, unknown, now, now_boot_ns)
        return DrawResult.SHARE if is_over else None

    def _is_known(self, path: BranchPath) -> bool:
        """Return whether the records already say everything that the ledger would answer."""
        if self._allowances.get(path.crew) != path.allowance:
            return False
        for level in path.levels:
            record = self._index.get(level.key)
            if record is None:
                return False
            if level.iat is not None and (level.iat, -level.quota) > (record.iat, -record.quota):
                return False
        return self._index.get(path.crew) is not None

    def _extend(self, path: BranchPath, grant: Grant, now: float, boot_ns: int) -> None:
        """Keep the records of the path longer if the grant ends later than earlier ones."""
        for level in path.levels:
            record = self._index.get(level.key)
            if record is not None:
                governing = OpenedLevel(level.key, record.quota, record.iat, 0)
                self._amend(record, governing, grant, now, boot_ns)

    def _quota(self, governing: OpenedLevel) -> int:
        """Return the quota that governed a level until now; for a new level, the new quota."""
        record = self._index.get(governing.key)
        return governing.quota if record is None else record.quota

    def _insert(
        self,
        above: tuple[bytes, ...],
        governing: OpenedLevel,
        grant: Grant,
        now: float,
        boot_ns: int,
    ) -> None:
        expires = _kept_until(grant) if above else limits.time_seconds_max
        report = governing.lease
        # The record begins without idle credit: that credit is on its way to the branch's own
        # opening, which adopts it, or back to the ledger.
        given_back = max(report.given_back, self._declined.pop(governing.key, 0))
        known = report.spent + report.burned + report.reserved
        granted = min(report.granted, given_back + known)
        number = self._table.open_branch(
            governing.key,
            tuple(self._index[key].number for key in above),
            ids.path_digest(above[1:]),
            governing.quota,
            governing.iat,
            expires,
            int(now),
            boot_ns,
            (report.seq, granted, given_back, report.spent),
        )
        record = LeaseRecord(number, governing.key, above, governing.quota, governing.iat, expires)
        record.granted, record.given_back = granted, given_back
        record.reported = report.spent, 0, report.burned
        record.overrun = report.overrun
        self._index.add(record)
        if above:
            self.shares.opened(above[0], governing.key, grant.claims.exp, boot_ns)

    def _amend(
        self, record: LeaseRecord, governing: OpenedLevel, grant: Grant, now: float, boot_ns: int
    ) -> None:
        """Update the quota, and keep an ancestor as long as its latest descendant's grant."""
        expires = max(record.expires, _kept_until(grant))
        known = record.quota, record.iat, record.expires
        if (governing.quota, governing.iat, expires) == known:
            return
        self._table.amend(record.number, governing.quota, governing.iat, expires, int(now), boot_ns)
        record.quota, record.iat, record.expires = governing.quota, governing.iat, expires
        if record.path:
            grant_ends = expires - limits.branch_memory_seconds
            self.shares.extended(record.path[0], record.key, grant_ends)


def _kept_until(grant: Grant) -> int:
    return grant.claims.exp + limits.branch_memory_seconds


def path_of(grant: Grant, crew: CrewPolicy) -> BranchPath:
    """Return the grant's path for the ledger, with no quota above the ceilings.

    The ceiling of a role bounds only the grant itself: a path does not name the ancestors' roles.
    """
    quota_max = crew.branch_quota_max(grant.orchestrator)
    above = tuple(
        BranchPathLevel(key, min(element.credit_quota, quota_max), element.iat, element.id)
        for key, element in zip(grant.path_keys, grant.claims.branch_path, strict=True)
    )
    own = BranchPathLevel(
        grant.branch_key, min(grant.quota, quota_max), grant.claims.iat, grant.branch
    )
    return BranchPath(ids.crew_key(crew.name), allowance_of(crew), (*above, own), crew.name)


def allowance_of(crew: CrewPolicy) -> CrewDrawLimits:
    """Return what the whole crew may draw in an hour and in a day."""
    return CrewDrawLimits(crew.hourly_max, crew.daily_max)
