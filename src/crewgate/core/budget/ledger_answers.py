"""Makes the ledger's answers and reports out of its accounts and leases; decides nothing."""

from collections.abc import Iterable

from crewgate.core.budget.account import Account
from crewgate.core.budget.ledger_lease import LedgerLease
from crewgate.core.budget.ledger_protocol import (
    AccountStatement,
    LeaseUsage,
    OpenedLevel,
    QuotaExhausted,
)


def governing_grant(account: Account, lessee: tuple[str, bytes]) -> OpenedLevel:
    """Return the grant that governs a level, with the lease of `lessee` (holder, boot) there."""
    overdrawn = max(0, account.totals.charged - account.quota)
    lease = account.leases.get(lessee)
    report = LeaseUsage() if lease is None else lease_report(lease)
    return OpenedLevel(account.key, account.quota, account.iat, overdrawn, report)


def least(candidates: Iterable[tuple[int, Account]]) -> tuple[int, Account]:
    """Return the smallest amount and its level; of equals, the level nearest to the branch.

    `candidates` come in the order of the path, the crew first.
    """
    return min(reversed(list(candidates)), key=lambda candidate: candidate[0])


def exhausted(account: Account, own_idle: int, need: int) -> QuotaExhausted:
    """Return why a level cannot pay `need`.

    `own_idle` is idle credit of the drawing lease itself: it cannot come back to this lease.
    """
    cap = account.lacking(own_idle, need)
    missing = need - account.tightest().remaining
    # If the need is above the cap of a window, a new window does not help.
    window = cap.window if need <= cap.cap else 0
    return QuotaExhausted(account.key, max(0, cap.charged - own_idle), cap.cap, missing, window)


def lease_report(lease: LedgerLease) -> LeaseUsage:
    """Return the totals of a lease as its holder counts them.

    So `given_back` includes void credit: the holder gave it back, though the ledger keeps it.
    """
    given_back = lease.given_back + lease.void
    totals = lease.spent, lease.lost, lease.reserved, lease.overrun, lease.report >= 0
    return LeaseUsage(lease.seq, lease.granted, given_back, *totals)


def statement(account: Account, *, closed: bool) -> AccountStatement:
    """Return the figures of a level with all levels below it."""
    totals = account.totals
    return AccountStatement(
        account.key,
        account.path,
        account.quota,
        account.iat,
        closed,
        totals.settled,
        totals.reserved,
        totals.idle,
        totals.burned,
        account.quota - totals.charged,
        totals.overrun,
        account.name,
        *account.windows(),
    )
