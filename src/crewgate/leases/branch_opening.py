"""Opens a branch with its ancestry: the crew first, then root … parent, then the branch.

Decides which levels are new, whether the crew may have them, and what governs each; the same in
the ledger and in the table. Draws no credit.
"""

import enum
from collections.abc import Generator

import msgspec

from crewgate import limits
from crewgate._native.owner import OwnedTable
from crewgate.core import ids
from crewgate.core.budget.ledger_protocol import (
    Allowance,
    Answer,
    GiveBack,
    Level,
    Mismatch,
    Open,
    Opened,
    Operation,
    Path,
    Standing,
    Told,
)
from crewgate.core.ids import Kind
from crewgate.core.policy.policy import Crew
from crewgate.core.tokens.grant import Grant
from crewgate.errors import TableFullError
from crewgate.leases.branch_quota import Shares
from crewgate.leases.lease_index import Holding, Holdings


class Status(enum.Enum):
    """How a draw ended. Only GRANTED lets the gate judge again at once with another outcome."""

    GRANTED = "granted"
    EXHAUSTED = "exhausted"  # written into the table: the gate refuses inline from now on
    CONTENDED = "contended"  # the credit is held by others that may give it back: try again
    FULL = "full"  # the table has no record left
    SHARE = "share"  # the crew has its share of records, of new or of live branches
    HELD = "held"  # its orchestrator is throttled or quarantined
    CLOSED = "closed"  # the branch or one above it was closed
    MISMATCH = "mismatch"  # it was seen before under another path


class Opening(msgspec.Struct, frozen=True):
    """What changed: levels with a raised quota; with a lowered one, and what is drawn above it."""

    raised: tuple[bytes, ...]
    lowered: tuple[tuple[bytes, int], ...]


NOTHING = Opening((), ())


class Lineage:
    """The opening of branches in one table and its ledger, which is asked by who drives it."""

    def __init__(self, table: OwnedTable, holdings: Holdings, holder: str) -> None:
        self._table = table
        self._holdings = holdings
        self._holder = holder
        self._allowances: dict[bytes, Allowance] = {}
        self.shares = Shares(table.geometry.branches)
        self._declined: dict[bytes, int] = {}  # what returns, of branches without a record

    def open(
        self, grant: Grant, crew: Crew, need: int, now: float, now_boot_ns: int
    ) -> Generator[Operation, Answer, Opening | Status]:
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
        key = ids.table_key(Kind.KEY, grant.caller, grant.kid.encode())
        is_new = self._holdings.get(grant.branch_key) is None
        first = need if is_new else 0
        opened = yield Open(path, self._holder, self._table.life, (key,), first)
        if isinstance(opened, Mismatch):
            return Status.MISMATCH
        if not isinstance(opened, Opened):
            return Status.CLOSED
        refused = self._judge(path, crew, now, now_boot_ns)  # much may have happened meanwhile
        if refused is not None:
            return (yield from self._decline(opened, refused))
        self._allowances[path.crew] = path.allowance
        before = [self._quota(standing) for standing in opened.standings]
        try:
            for depth, standing in enumerate(opened.standings):
                self._stand(path.keys[:depth], standing, grant, now, now_boot_ns)
        except TableFullError:
            return (yield from self._decline(opened, Status.FULL))
        if is_new:
            self.adopt(grant.branch_key, opened.standings[-1].told)
            self._table.expect(self._number(grant.branch_key), opened.left)
        changes = list(zip(before, opened.standings, strict=True))
        return Opening(
            tuple(new.key for quota, new in changes if new.quota > quota),
            tuple(
                (new.key, new.overdrawn)
                for quota, new in changes
                if new.overdrawn and new.quota < quota
            ),
        )

    def adopt(self, key: bytes, told: Told) -> None:
        """Put into a branch's lease what the ledger has granted and the table was not given.

        Its record was opened by a descendant while its own opening was under way, or the agent was
        killed in between.
        """
        holding = self._holdings.get(key)
        record = self._table.branch(holding.number) if holding is not None else None
        if holding is None or record is None:
            raise KeyError(key.hex())
        room = limits.lease_micro_max - (record.granted - record.given_back - record.settled)
        missing = min(told.granted - (holding.granted - holding.owed), room)
        if missing > 0:
            self._table.lend(holding.number, missing)
            holding.granted += missing
        for _ in range(told.seq - record.sequence):  # those draws are answered
            self._table.begin_draw(holding.number, 1)
            self._table.refuse(holding.number, 0, 0, 0, 0)
        self._holdings.lease(holding)

    def declined(self, opened: Opened) -> GiveBack | None:
        """What returns the credit that was drawn with an opening, where no record will hold it."""
        standing = opened.standings[-1]
        if self._holdings.get(standing.key) is not None:
            self.adopt(standing.key, standing.told)  # a lease that nobody uses is given back
            return None
        if not standing.told.idle:
            return None
        returned = standing.told.given_back + standing.told.idle
        if len(self._declined) >= limits.draw_talks_max:
            del self._declined[next(iter(self._declined))]  # the oldest, which has returned
        self._declined[standing.key] = returned
        return GiveBack(standing.key, self._holder, self._table.life, returned)

    def _decline(self, opened: Opened, status: Status) -> Generator[Operation, Answer, Status]:
        returned = self.declined(opened)
        if returned is not None:
            yield returned
        return status

    def unopened(self, grant: Grant, crew: Crew) -> list[bytes]:
        """Levels that have no record, the deepest first."""
        keys = reversed(path_of(grant, crew).keys)
        return [key for key in keys if self._holdings.get(key) is None]

    def keep(self, holding: Holding) -> None:
        """Count a record that was there when the agent began."""
        self._holdings.add(holding)
        if holding.path:
            grant_ends = holding.expires - limits.branch_memory_seconds
            share = self.shares.kept(holding.path[0], holding.key, grant_ends)
            if holding.closed:
                share.until.pop(holding.key, None)

    def _judge(self, path: Path, crew: Crew, now: float, now_boot_ns: int) -> Status | None:
        keys, unknown = path.keys, 0
        for depth, key in enumerate(keys):
            holding = self._holdings.get(key)
            if holding is None:
                unknown += depth > 0
            elif holding.path != keys[:depth]:
                return Status.MISMATCH
            elif holding.closed:
                return Status.CLOSED
        if unknown and not self.shares.admits(path.crew, crew, unknown, now, now_boot_ns):
            return Status.SHARE
        return None

    def _is_known(self, path: Path) -> bool:
        """The ledger would answer what stands here already."""
        if self._allowances.get(path.crew) != path.allowance:
            return False
        for level in path.levels:
            holding = self._holdings.get(level.key)
            if holding is None:
                return False
            if level.iat is not None and (level.iat, -level.quota) > (holding.iat, -holding.quota):
                return False
        return self._holdings.get(path.crew) is not None

    def _extend(self, path: Path, grant: Grant, now: float, boot_ns: int) -> None:
        """The grant may end later than those before it."""
        for level in path.levels:
            holding = self._holdings.get(level.key)
            if holding is not None:
                standing = Standing(level.key, holding.quota, holding.iat, 0)
                self._amend(holding, standing, grant, now, boot_ns)

    def _quota(self, standing: Standing) -> int:
        """What governed until now; a new level changes nothing."""
        holding = self._holdings.get(standing.key)
        return standing.quota if holding is None else holding.quota

    def _stand(
        self, above: tuple[bytes, ...], standing: Standing, grant: Grant, now: float, boot_ns: int
    ) -> None:
        holding = self._holdings.get(standing.key)
        if holding is None:
            self._insert(above, standing, grant, now, boot_ns)
        else:
            self._amend(holding, standing, grant, now, boot_ns)

    def _insert(
        self, above: tuple[bytes, ...], standing: Standing, grant: Grant, now: float, boot_ns: int
    ) -> None:
        expires = _kept_until(grant) if above else limits.time_seconds_max
        told = standing.told
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
        holding = Holding(number, standing.key, above, standing.quota, standing.iat, expires)
        holding.granted, holding.given_back = granted, given_back
        holding.told = told.spent, 0, told.burned
        holding.overrun = told.overrun
        self._holdings.add(holding)
        if above:
            self.shares.opened(above[0], standing.key, grant.claims.exp, boot_ns)

    def _amend(
        self, holding: Holding, standing: Standing, grant: Grant, now: float, boot_ns: int
    ) -> None:
        """Ancestors live as long as their youngest descendant's grant."""
        expires = max(holding.expires, _kept_until(grant))
        known = holding.quota, holding.iat, holding.expires
        if (standing.quota, standing.iat, expires) == known:
            return
        self._table.amend(holding.number, standing.quota, standing.iat, expires, int(now), boot_ns)
        holding.quota, holding.iat, holding.expires = standing.quota, standing.iat, expires
        if holding.path:
            grant_ends = expires - limits.branch_memory_seconds
            self.shares.extended(holding.path[0], holding.key, grant_ends)

    def _number(self, key: bytes) -> int:
        holding = self._holdings.get(key)
        if holding is None:
            raise KeyError(key.hex())
        return holding.number


def _kept_until(grant: Grant) -> int:
    return grant.claims.exp + limits.branch_memory_seconds


def path_of(grant: Grant, crew: Crew) -> Path:
    """The grant's path as the ledger takes it; ceilings of the crew hold for ancestors too."""
    above = tuple(
        Level(key, min(element.credit_quota, crew.quota_max), element.iat, element.id)
        for key, element in zip(grant.path_keys, grant.claims.branch_path, strict=True)
    )
    own = Level(grant.branch_key, min(grant.quota, crew.quota_max), grant.claims.iat, grant.branch)
    return Path(ids.crew_key(crew.name), allowance_of(crew), (*above, own), crew.name)


def allowance_of(crew: Crew) -> Allowance:
    """What the whole crew may draw in an hour and in a day."""
    return Allowance(crew.hourly_max, crew.daily_max)
