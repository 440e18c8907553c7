"""The ledger's protocol: its idempotent operations, their answers, and the reports.

Three rules keep budgets exact without a common clock:

1. The ledger counts credit as spent from the moment when a machine leases it.
2. Only the holder of a lease may give the credit back.
3. The ledger burns a lost lease; no timeout ever grants its credit again.

A holder may send every operation twice, late or in another order, and the result stays the same.

Amounts are integer micro-credits, keys are 16 bytes (`core.ids`). A holder is a machine, by its
name in the ledger; a boot is the life of the machine's table (16 random bytes). Wall clock seconds
come as arguments. They decide on a crew's hourly and daily allowance and on the age of a ticket,
and on nothing else.
"""

from typing import Protocol

import msgspec

from crewgate import limits

WINDOW_SECONDS_HOUR = 3600
WINDOW_SECONDS_DAY = 86_400


def window_of(number: int, *, is_day: bool) -> int:
    """Return one number for an hour or a day, which `number` counts since the epoch; 0 is none."""
    return 2 * number + is_day


def window_end(window: int) -> tuple[int, int]:
    """Return the length of a `window_of` and its end since the epoch, both in seconds."""
    seconds = WINDOW_SECONDS_DAY if window % 2 else WINDOW_SECONDS_HOUR
    return seconds, (window // 2 + 1) * seconds


class BranchPathLevel(msgspec.Struct, frozen=True, gc=False):
    """One branch of a path as a token names it, with its quota.

    `iat` is the grant's second of issue. Without `iat` the quota governs only if the ledger does
    not know the branch yet. `id` is the UUID text of the branch, for people who read the ledger.
    """

    key: bytes
    quota: int
    iat: int | None = None
    id: str = ""


class CrewDrawLimits(msgspec.Struct, frozen=True, gc=False):
    """How many micro-credits a whole crew may draw in one hour, and in one day, of the epoch."""

    hourly_max: int = limits.quota_micro_max
    daily_max: int = limits.quota_micro_max


class BranchPath(msgspec.Struct, frozen=True):
    """The path of a branch: the crew with its allowance and `name`, then root … branch."""

    crew: bytes
    allowance: CrewDrawLimits
    levels: tuple[BranchPathLevel, ...]
    name: str = ""

    @property
    def keys(self) -> tuple[bytes, ...]:
        """The keys of all levels, the crew first, the branch last."""
        return (self.crew, *(level.key for level in self.levels))


class OpenBranches(msgspec.Struct, frozen=True):
    """A holder makes every level of a path known, before it draws for the branch.

    `besides` are further keys that must not be closed, such as the key that signed the grant.
    With a `need`, the branch also draws this much in the same transaction, if the credit is free.
    That is for a holder whose table has no record of the branch: the record then begins with the
    lease of the answer. If the lease already has this much idle credit, the ledger draws nothing.

    Answers: `BranchesOpened`, `PathMismatch`, `BranchClosed`.
    """

    path: BranchPath
    holder: str
    boot: bytes
    besides: tuple[bytes, ...] = ()
    need: int = 0


class LeaseUsage(msgspec.Struct, frozen=True, gc=False):
    """The totals of one lease in one boot, as the ledger knows them.

    A table that has forgotten the branch continues from here. `seq` is the number of the last draw.
    `reported` is True once the holder has settled the lease (`ReportLeaseUsage`).
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
        """Leased credit that is neither spent, reserved nor burned."""
        return self.granted - self.given_back - self.spent - self.burned - self.reserved


class OpenedLevel(msgspec.Struct, frozen=True, gc=False):
    """The quota that governs a level, and the asking holder's lease there.

    `overdrawn` is the credit charged beyond the quota; holders should give it back.
    """

    key: bytes
    quota: int
    iat: int
    overdrawn: int
    lease: LeaseUsage = LeaseUsage()


class BranchesOpened(msgspec.Struct, frozen=True):
    """The ledger knows every level, and the newest grant governs each.

    `grants` holds the crew first and the branch last; the branch's `lease` has the credit that the
    opening drew. `left` is the credit that the tightest level could still grant.
    """

    grants: tuple[OpenedLevel, ...]
    left: int = 0


class PathMismatch(msgspec.Struct, frozen=True, gc=False):
    """The ledger knows this level under another path; the operation changed nothing."""

    level: bytes


class BranchClosed(msgspec.Struct, frozen=True, gc=False):
    """This level, or one of the keys in `besides`, is closed: nothing below it may draw again."""

    level: bytes


class DrawLease(msgspec.Struct, frozen=True, gc=False):
    """A holder draws credit for a branch.

    `need` is the least amount that helps; `rate` is the branch's recent spending on this machine,
    per second. `seq` grows by one with each draw of this branch by this holder in this boot. The
    holder sends the next draw only after it has applied the answer to the last one.

    A draw `ahead` of any call takes only free credit. It never waits, and it gets nothing while
    another draw waits at one of the levels. `loose` is the part of this lease that calls in flight
    hold as an upper bound; it may come back, so the draw waits for it. An `owed` draw charges an
    overdraft: credit that the machine lent itself while the ledger was unavailable. The ledger
    charges it even if the quota is used up or the branch is closed.

    Answers: `DrawGranted`, `DrawQueued`, `QuotaExhausted`, `BranchClosed`.
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


class WindowUsage(msgspec.Struct, frozen=True, gc=False):
    """The micro-credits charged in one hour or day; `number` counts it since the epoch."""

    number: int = 0
    charged: int = 0


class DrawGranted(msgspec.Struct, frozen=True, gc=False, tag="Granted"):
    """The lease grows by `amount`, which the ledger has charged to the branch and all levels above.

    `hour` and `day` are the crew's windows after that. `left` is the credit that the tightest level
    could still grant.
    """

    amount: int
    hour: WindowUsage
    day: WindowUsage
    left: int = 0


class DrawQueued(msgspec.Struct, frozen=True, gc=False, tag="Ticket"):
    """`missing` credit of this level lies in leases and may come back: recall it, then draw again.

    The ledger keeps a place in the queue of the level for the branch, holder and boot. The next
    draw (with the next `seq`) has this place, if it comes within `limits.ticket_seconds`.
    """

    level: bytes
    missing: int


class QuotaExhausted(msgspec.Struct, frozen=True, gc=False, tag="Exhausted"):
    """As far as the ledger knows, this level cannot pay even if all idle credit comes back.

    `used` of `quota` is settled, burned or reserved by calls in flight. `missing` is what the level
    lacks right now. `window` is the spent hour or day of the crew (`window_of`) if the credit comes
    back by itself, by the newest time that the ledger has seen; otherwise it is 0.
    """

    level: bytes
    used: int
    quota: int
    missing: int
    window: int = 0


class ReturnCredit(msgspec.Struct, frozen=True, gc=False):
    """A holder gives back credit that no call holds.

    `amount` is the total of this boot, so a return needs no sequence number: a repeated or late one
    changes nothing, and a restarted agent sends the total again. There is no answer.
    """

    branch: bytes
    holder: str
    boot: bytes
    amount: int


class ReportLeaseUsage(msgspec.Struct, frozen=True, gc=False):
    """A holder reports what became of a lease, in totals of this boot.

    The ledger ignores a report whose `seq` is not above the last one's. `reserved` is held by calls
    in flight at a known price: it is spent unless the calls release it. A holder does not report
    what calls hold as an upper bound: like idle credit, it may come back. `burned` was lost with
    processes that died. `overrun` is the cost that tools stated above the reservations of their
    calls. There is no answer.
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
    """A holder ends a branch with all below it, or a signing key with all that it signed.

    The ledger grants nothing at or below `key` from then on. There is no answer.
    """

    key: bytes


Operation = OpenBranches | DrawLease | ReturnCredit | ReportLeaseUsage | CloseBranch
OperationResult = (
    BranchesOpened | PathMismatch | BranchClosed | DrawGranted | DrawQueued | QuotaExhausted | None
)


class AccountStatement(msgspec.Struct, frozen=True):
    """One level with all below it: settled + reserved + leased + burned + remaining = quota.

    `leased` is idle credit in leases. `remaining` is below zero after somebody lowered the quota
    below the charged credit, or after the ledger charged an overdraft. `hour` and `day` are the
    newest in which the ledger charged the crew; a branch has empty ones.
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
    hour: WindowUsage = WindowUsage()
    day: WindowUsage = WindowUsage()


class Ledger(Protocol):
    """The one place that grants credit, as a machine that draws uses it."""

    def do(self, operation: Operation, now: float) -> OperationResult:
        """Do one operation and return its answer; `now` is the wall clock in seconds.

        Raises InvalidLedgerOperationError if the protocol does not allow the operation.
        """

    def leases(self, holder: str, boot: bytes) -> dict[bytes, LeaseUsage]:
        """Return what one holder has drawn in one boot, by branch."""
