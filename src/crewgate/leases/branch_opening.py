"""Opens a branch with its ancestry: the crew first, then root … parent, then the branch.

Decides which levels are new, whether the crew may have them, and what governs each; the same in
the ledger and in the table. Draws no credit.
"""

import enum
from collections.abc import Generator

import msgspec

from crewgate import limits
from crewgate._native.table_owner import OwnedTable
from crewgate.core import ids
from crewgate.core.budget.ledger_protocol import (
    AccountLevel,
    BranchesOpened,
    BranchPath,
    CrewAllowance,
    GoverningGrant,
    LeaseReport,
    OpenBranches,
    Operation,
    OperationResult,
    PathMismatch,
    ReturnCredit,
)
from crewgate.core.ids import KeyKind
from crewgate.core.policy.policy import CrewPolicy
from crewgate.core.tokens.grant import Grant
from crewgate.errors import TableFullError
from crewgate.leases.branch_quota import RecordQuota
from crewgate.leases.lease_index import LeaseIndex, LeaseRecord


class DrawResult(enum.Enum):
    """How a draw ended. Only GRANTED lets the gate judge again at once with another outcome."""

    GRANTED = "granted"
    EXHAUSTED = "exhausted"  # written into the table: the gate refuses inline from now on
    CONTENDED = "contended"  # the credit is held by others that may give it back: try again
    FULL = "full"  # the table has no record left
    SHARE = "share"  # the crew has its share of records, of new or of live branches
    HELD = "held"  # its orchestrator is throttled or quarantined
    CLOSED = "closed"  # the branch or one above it was closed
    MISMATCH = "mismatch"  # it was seen before under another path


class QuotaChanges(msgspec.Struct, frozen=True):
    """What changed: levels with a raised quota; with a lowered one, and what is drawn above it."""

    raised: tuple[bytes, ...]
    lowered: tuple[tuple[bytes, int], ...]


NOTHING = QuotaChanges((), ())


class BranchOpener:
    """The opening of branches in one table and its ledger, which is asked by who drives it."""

    def __init__(self, table: OwnedTable, index: LeaseIndex, holder: str) -> None:
        self._table = table
        self._index = index
        self._holder = holder
        self._allowances: dict[bytes, CrewAllowance] = {}
        self.shares = RecordQuota(table.geometry.branches)
        self._declined: dict[bytes, int] = {}  # what returns, of branches without a record

    def open(
        self, grant: Grant, crew: CrewPolicy, need: int, now: float, now_boot_ns: int
    ) -> Generator[Operation, OperationResult, QuotaChanges | DrawResult]:
        """Every level has a record afterwards and stands as the ledger says.

        Otherwise nothing changed, except that ancestors opened before the table was full stay. The
        ledger is asked only if the grant tells it something; a branch that has no record here draws
        the `need` of its first call in the same question.
        """
        path = path_of(grant, crew)
        refused = self._judge(path, crew, now, now_boot_ns)
        if refused is not None:
            return refused
        if self._is_known(path):
            self._extend(path, grant, now, now_boot_ns)
            return NOTHING
        key = ids.table_key(KeyKind.KEY, grant.caller, grant.kid.encode())
        is_new = self._index.get(grant.branch_key) is None
        first = need if is_new else 0
        opened = yield OpenBranches(path, self._holder, self._table.life, (key,), first)
        if isinstance(opened, PathMismatch):
            return DrawResult.MISMATCH
        if not isinstance(opened, BranchesOpened):
            return DrawResult.CLOSED
        refused = self._judge(path, crew, now, now_boot_ns)  # much may have happened meanwhile
        if refused is not None:
            return (yield from self._decline(opened, refused))
        self._allowances[path.crew] = path.allowance
        before = [self._quota(standing) for standing in opened.grants]
        try:
            for depth, standing in enumerate(opened.grants):
                self._stand(path.keys[:depth], standing, grant, now, now_boot_ns)
        except TableFullError:
            return (yield from self._decline(opened, DrawResult.FULL))
        if is_new:
            self.adopt(grant.branch_key, opened.grants[-1].lease)
            self._table.expect(self._number(grant.branch_key), opened.left)
        changes = list(zip(before, opened.grants, strict=True))
        return QuotaChanges(
            tuple(new.key for quota, new in changes if new.quota > quota),
            tuple(
                (new.key, new.overdrawn)
                for quota, new in changes
                if new.overdrawn and new.quota < quota
            ),
        )

    def adopt(self, key: bytes, told: LeaseReport) -> None:
        """Put into a branch's lease what the ledger has granted and the table was not given.

        Its record was opened by a descendant while its own opening was under way, or the agent was
        killed in between.
        """
        holding = self._index.get(key)
        record = self._table.branch(holding.number) if holding is not None else None
        if holding is None or record is None:
            raise KeyError(key.hex())
        room = limits.lease_micro_max - (record.granted - record.given_back - record.settled)
        missing = min(told.granted - (holding.granted - holding.overdrawn), room)
        if missing > 0:
            self._table.lend(holding.number, missing)
            holding.granted += missing
        for _ in range(told.seq - record.sequence):  # those draws are answered
            self._table.begin_draw(holding.number, 1)
            self._table.refuse(holding.number, 0, 0, 0, 0)
        self._index.lease(holding)

    def declined(self, opened: BranchesOpened) -> ReturnCredit | None:
        """What returns the credit that was drawn with an opening, where no record will hold it."""
        standing = opened.grants[-1]
        if self._index.get(standing.key) is not None:
            self.adopt(standing.key, standing.lease)  # a lease that nobody uses is given back
            return None
        if not standing.lease.idle:
            return None
        returned = standing.lease.given_back + standing.lease.idle
        if len(self._declined) >= limits.draw_talks_max:
            del self._declined[next(iter(self._declined))]  # the oldest, which has returned
        self._declined[standing.key] = returned
        return ReturnCredit(standing.key, self._holder, self._table.life, returned)

    def _decline(
        self, opened: BranchesOpened, status: DrawResult
    ) -> Generator[Operation, OperationResult, DrawResult]:
        returned = self.declined(opened)
        if returned is not None:
            yield returned
        return status

    def unopened(self, grant: Grant, crew: CrewPolicy) -> list[bytes]:
        """Levels that have no record, the deepest first."""
        keys = reversed(path_of(grant, crew).keys)
        return [key for key in keys if self._index.get(key) is None]

    def keep(self, record: LeaseRecord) -> None:
        """Count a record that was there when the agent began."""
        self._index.add(record)
        if record.path:
            grant_ends = record.expires - limits.branch_memory_seconds
            share = self.shares.kept(record.path[0], record.key, grant_ends)
            if record.closed:
                share.until.pop(record.key, None)

    def _judge(
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
        if unknown and not self.shares.admits(path.crew, crew, unknown, now, now_boot_ns):
            return DrawResult.SHARE
        return None

    def _is_known(self, path: BranchPath) -> bool:
        """The ledger would answer what stands here already."""
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
        """The grant may end later than those before it."""
        for level in path.levels:
            record = self._index.get(level.key)
            if record is not None:
                standing = GoverningGrant(level.key, record.quota, record.iat, 0)
                self._amend(record, standing, grant, now, boot_ns)

    def _quota(self, standing: GoverningGrant) -> int:
        """What governed until now; a new level changes nothing."""
        record = self._index.get(standing.key)
        return standing.quota if record is None else record.quota

    def _stand(
        self,
        above: tuple[bytes, ...],
        standing: GoverningGrant,
        grant: Grant,
        now: float,
        boot_ns: int,
    ) -> None:
        record = self._index.get(standing.key)
        if record is None:
            self._insert(above, standing, grant, now, boot_ns)
        else:
            self._amend(record, standing, grant, now, boot_ns)

    def _insert(
        self,
        above: tuple[bytes, ...],
        standing: GoverningGrant,
        grant: Grant,
        now: float,
        boot_ns: int,
    ) -> None:
        expires = _kept_until(grant) if above else limits.time_seconds_max
        told = standing.lease
        # What is idle is on its way: to this branch's own opening, which adopts it, or back.
        given_back = max(told.given_back, self._declined.pop(standing.key, 0))
        known = told.spent + told.burned + told.reserved
        granted = min(told.granted, given_back + known)
        number = self._table.open_branch(
            standing.key,
            tuple(self._number(key) for key in above),
            ids.path_digest(above[1:]),
            standing.quota,
            standing.iat,
            expires,
            int(now),
            boot_ns,
            (told.seq, granted, given_back, told.spent),
        )
        record = LeaseRecord(number, standing.key, above, standing.quota, standing.iat, expires)
        record.granted, record.given_back = granted, given_back
        record.told = told.spent, 0, told.burned
        record.overrun = told.overrun
        self._index.add(record)
        if above:
            self.shares.opened(above[0], standing.key, grant.claims.exp, boot_ns)

    def _amend(
        self, record: LeaseRecord, standing: GoverningGrant, grant: Grant, now: float, boot_ns: int
    ) -> None:
        """Ancestors live as long as their youngest descendant's grant."""
        expires = max(record.expires, _kept_until(grant))
        known = record.quota, record.iat, record.expires
        if (standing.quota, standing.iat, expires) == known:
            return
        self._table.amend(record.number, standing.quota, standing.iat, expires, int(now), boot_ns)
        record.quota, record.iat, record.expires = standing.quota, standing.iat, expires
        if record.path:
            grant_ends = expires - limits.branch_memory_seconds
            self.shares.extended(record.path[0], record.key, grant_ends)

    def _number(self, key: bytes) -> int:
        record = self._index.get(key)
        if record is None:
            raise KeyError(key.hex())
        return record.number


def _kept_until(grant: Grant) -> int:
    return grant.claims.exp + limits.branch_memory_seconds


def path_of(grant: Grant, crew: CrewPolicy) -> BranchPath:
    """The grant's path as the ledger takes it; ceilings of the crew hold for ancestors too."""
    above = tuple(
        AccountLevel(key, min(element.credit_quota, crew.quota_max), element.iat, element.id)
        for key, element in zip(grant.path_keys, grant.claims.branch_path, strict=True)
    )
    own = AccountLevel(
        grant.branch_key, min(grant.quota, crew.quota_max), grant.claims.iat, grant.branch
    )
    return BranchPath(ids.crew_key(crew.name), allowance_of(crew), (*above, own), crew.name)


def allowance_of(crew: CrewPolicy) -> CrewAllowance:
    """What the whole crew may draw in an hour and in a day."""
    return CrewAllowance(crew.hourly_max, crew.daily_max)
