"""The ledger's protocol: six idempotent operations on credit, and what they ask and answer.

Credit counts as spent from the moment it is leased; only its holder may give it back; a lost lease
is burned, never granted again by a timeout. Every operation may be sent twice, late or in another
order without changing what it means. Says nothing about where an engine keeps its accounts.

Amounts are integer micro-credits; keys are 16 bytes (`core.ids`); a holder is a machine, a boot
the life of its table. Wall clock seconds come as arguments and serve a crew's hourly and daily
allowance and the age of a ticket, nothing else.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from crewgate import limits

WINDOW_SECONDS_HOUR = 3600
WINDOW_SECONDS_DAY = 86_400


def window_of(number: int, *, is_day: bool) -> int:
    """An hour or a day, counted since the epoch, as one number; 0 stands for neither."""
    return 2 * number + is_day


def window_end(window: int) -> tuple[int, int]:
    """Of such an hour or day: its length, and its end since the epoch; in seconds."""
    seconds = WINDOW_SECONDS_DAY if window % 2 else WINDOW_SECONDS_HOUR
    return seconds, (window // 2 + 1) * seconds


class AccountLevel(msgspec.Struct, frozen=True, gc=False):
    """A branch as a token names it. Without `iat` it only opens a branch that is not known yet.

    `id` is its UUID text, for people who read the ledger.
    """

    key: bytes
    quota: int
    iat: int | None = None
    id: str = ""


class CrewAllowance(msgspec.Struct, frozen=True, gc=False):
    """What a whole crew may draw in one hour and in one day since the epoch."""

    hourly_max: int = limits.quota_micro_max
    daily_max: int = limits.quota_micro_max


class BranchPath(msgspec.Struct, frozen=True):
    """A branch and its ancestry: the crew, its allowance, then root … branch; and its `name`."""

    crew: bytes
    allowance: CrewAllowance
    levels: tuple[AccountLevel, ...]
    name: str = ""

    @property
    def keys(self) -> tuple[bytes, ...]:
        """All levels, the crew first, the branch last."""
        return (self.crew, *(level.key for level in self.levels))


class OpenBranches(msgspec.Struct, frozen=True):
    """Make every level of a path known, for a holder that means to draw.

    `besides` names what else must not be closed for that, such as the key that signed the grant.
    With a `need` the branch draws as much in the same transaction, if that is free: for a holder
    whose table has no record of it, so that what it is told of the lease is where that begins.
    """

    path: BranchPath
    holder: str
    boot: bytes
    besides: tuple[bytes, ...] = ()
    need: int = 0


class LeaseReport(msgspec.Struct, frozen=True, gc=False):
    """How far a holder's lease of one branch has got in this boot, as far as the ledger was told.

    A table that has forgotten the branch goes on from here: `seq` and the totals count per boot.
    `reported`: it has said at least once what became of the lease.
    """

    seq: int = 0
    granted: int = 0
    given_back: int = 0
    spent: int = 0
    burned: int = 0
    reserved: int = 0
    overrun: int = 0
    reported: bool = False

    @property
    def idle(self) -> int:
        """Leased, and neither spent, reserved nor lost."""
        return self.granted - self.given_back - self.spent - self.burned - self.reserved


class GoverningGrant(msgspec.Struct, frozen=True, gc=False):
    """The grant that governs a branch. `overdrawn` is what is drawn above it: to be recalled."""

    key: bytes
    quota: int
    iat: int
    overdrawn: int
    told: LeaseReport = LeaseReport()


class BranchesOpened(msgspec.Struct, frozen=True):
    """Every level is known and governed by its newest grant; the crew first, the branch last.

    What was drawn with it stands in the branch's lease; what could be granted besides is `left`.
    """

    standings: tuple[GoverningGrant, ...]
    left: int = 0


class PathMismatch(msgspec.Struct, frozen=True, gc=False):
    """This level was seen before under another path; nothing was opened or amended."""

    level: bytes


class BranchClosed(msgspec.Struct, frozen=True, gc=False):
    """This level, or what was named besides, is closed: nothing below it may draw again."""

    level: bytes


class DrawLease(msgspec.Struct, frozen=True, gc=False):
    """A wish for credit. `need` is the least that helps; `rate` what was spent lately, a second.

    `seq` grows by one with each draw of this branch by this holder in this boot; the next may be
    sent once the one before was answered and applied. Drawn `ahead` of any call, it takes what is
    free, and neither waits for credit nor is in anybody's way. `loose` is what calls in flight hold
    of the branch's lease here as an upper bound: it may come back, and is waited for. What is
    `owed` has been lent to it while the ledger was away: it is charged, whatever is left or closed.
    """

    branch: bytes
    holder: str
    boot: bytes
    seq: int
    need: int
    rate: int = 0
    ahead: bool = False
    loose: int = 0
    owed: bool = False


class AllowanceWindow(msgspec.Struct, frozen=True, gc=False):
    """What a crew was charged in one hour or day, which is counted since the epoch."""

    number: int = 0
    charged: int = 0


class DrawGranted(msgspec.Struct, frozen=True, gc=False, tag="Granted"):
    """A lease of `amount`, charged to the branch and every level above; and the crew's windows.

    `left` is what the tightest level could still grant then.
    """

    amount: int
    hour: AllowanceWindow
    day: AllowanceWindow
    left: int = 0


class RecallTicket(msgspec.Struct, frozen=True, gc=False, tag="Ticket"):
    """`missing` credit of this level lies in leases that may come back: recall it, draw again.

    The place in the queue is kept for `limits.ticket_seconds` and belongs to the branch, holder
    and boot, so that the next draw (with the next `seq`) is served in its turn.
    """

    level: bytes
    missing: int


class QuotaExhausted(msgspec.Struct, frozen=True, gc=False, tag="Exhausted"):
    """As far as the ledger knows, this level cannot pay even if all idle credit comes back.

    `used` of `quota` is settled, burned or reserved by calls in flight; `missing` is what the
    level lacks right now. If that comes back by itself, `window` is the crew's hour or day that is
    spent (`window_of`), by the newest time that the ledger has seen; else it is 0.
    """

    level: bytes
    used: int
    quota: int
    missing: int
    window: int = 0


class ReturnCredit(msgspec.Struct, frozen=True, gc=False):
    """Unreserved credit returned by its holder.

    `amount` is the total given back in this boot, so that it needs no sequence number: duplicates
    and late ones change nothing, and a restarted agent just says it again.
    """

    branch: bytes
    holder: str
    boot: bytes
    amount: int


class SettleLease(msgspec.Struct, frozen=True, gc=False):
    """What became of a lease so far, in totals of this boot; a lower `seq` than before is late.

    `reserved` is held by calls in flight whose price is known: spent, unless they are released.
    What is held as an upper bound is not told: like idle credit it may come back.
    `burned` was lost by processes that died; `overrun` is what responses stated above their bound.
    """

    branch: bytes
    holder: str
    boot: bytes
    seq: int
    spent: int
    reserved: int = 0
    burned: int = 0
    overrun: int = 0


class CloseBranch(msgspec.Struct, frozen=True, gc=False):
    """The end of a branch and of all below it; or of a key, and of all that it signed."""

    key: bytes


Operation = OpenBranches | DrawLease | ReturnCredit | SettleLease | CloseBranch
OperationResult = (
    BranchesOpened
    | PathMismatch
    | BranchClosed
    | DrawGranted
    | RecallTicket
    | QuotaExhausted
    | None
)


class AccountStatement(msgspec.Struct, frozen=True):
    """One level with all below it: settled + reserved + leased + burned + remaining = quota.

    `leased` is idle credit in leases; `remaining` is below zero after a lowered quota. A crew has
    the newest hour and day that it was charged in.
    """

    key: bytes
    path: tuple[bytes, ...]
    quota: int
    iat: int
    closed: bool
    settled: int
    reserved: int
    leased: int
    burned: int
    remaining: int
    overrun: int
    name: str = ""
    hour: AllowanceWindow = AllowanceWindow()
    day: AllowanceWindow = AllowanceWindow()


class Ledger(Protocol):
    """The one place that grants credit. LedgerError for a request that the protocol excludes."""

    def do(self, operation: Operation, now: float) -> OperationResult:
        """Any of the five below; LedgerError for what the protocol excludes."""

    def open(self, asked: OpenBranches) -> BranchesOpened | PathMismatch | BranchClosed:
        """Make every level known; the newest grant of each governs its quota."""

    def draw(
        self, draw: DrawLease, now: float
    ) -> DrawGranted | RecallTicket | QuotaExhausted | BranchClosed:
        """Charge a lease to the whole path. The answer to (branch, holder, boot, seq) is final.

        LedgerError: the branch is not open, the boot was replaced, or `seq` was passed already.
        """

    def give_back(self, given: ReturnCredit) -> None:
        """Return credit to every level; ignored after a burn or a new boot of the holder."""

    def settle(self, settle: SettleLease) -> None:
        """Say what was spent; of a burned lease it moves from burned to settled."""

    def close(self, key: bytes) -> None:
        """No more draws at or below it, known or not; closing again does nothing.

        What is leased stays charged until its holder, who alone knows, gives back what is unspent.
        """

    def report(self, below: bytes | None = None) -> tuple[AccountStatement, ...]:
        """All levels, or the one named and those below it; ancestors before descendants."""

    def statements(self, keys: Sequence[bytes]) -> dict[bytes, AccountStatement]:
        """Those of these levels that are known."""

    def leases(self, holder: str, boot: bytes) -> dict[bytes, LeaseReport]:
        """What one holder has drawn in one boot, by branch, as far as the ledger was told."""

    def heartbeats(self) -> dict[str, tuple[bytes, int]]:
        """Return each holder's newest boot, and how often it was heard (`heartbeat_monitor`)."""

    def heartbeat(self, holder: str, boot: bytes) -> None:
        """A sign of life of who asks for nothing."""

    def forgive(self, branch: bytes) -> int:
        """Return what was burned of a branch, until its holder tells that it was not lost."""

    def burn(self, holder: str, boot: bytes, beat: int) -> int:
        """Write off for good what a holder has that was not heard since `beat`; how much."""
