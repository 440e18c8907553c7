"""How a ledger's accounts and leases are told to others.

Decides nothing; the figures of one level are read from its account as they stand.
"""

from collections.abc import Iterable

from crewgate.core.budget.account import Account
from crewgate.core.budget.lease import Lease
from crewgate.core.budget.ledger_protocol import (
    AccountStatement,
    GoverningGrant,
    LeaseReport,
    QuotaExhausted,
)


def governing_grant(account: Account, lessee: tuple[str, bytes]) -> GoverningGrant:
    """What governs the level, how far it is overdrawn, and how `lessee` (holder, boot) stands."""
    overdrawn = max(0, account.totals.charged - account.quota)
    lease = account.leases.get(lessee)
    told = LeaseReport() if lease is None else lease_report(lease)
    return GoverningGrant(account.key, account.quota, account.iat, overdrawn, told)


def least(candidates: Iterable[tuple[int, Account]]) -> tuple[int, Account]:
    """The smallest amount; among equals the level nearest to the branch, which says most."""
    return min(reversed(list(candidates)), key=lambda candidate: candidate[0])


def exhausted(account: Account, own: int, need: int) -> QuotaExhausted:
    """Why a level cannot pay; `own` is idle and held by who asks, and so of no use to it."""
    bound = account.lacking(own, need)
    missing = need - account.tightest().remaining
    window = bound.window if need <= bound.cap else 0  # no window ever has so much
    return QuotaExhausted(account.key, max(0, bound.charged - own), bound.cap, missing, window)


def lease_report(lease: Lease) -> LeaseReport:
    """How far it has got; what came back too late was given back all the same."""
    given = lease.given_back + lease.void
    told = lease.spent, lease.lost, lease.reserved, lease.overrun, lease.report >= 0
    return LeaseReport(lease.seq, lease.granted, given, *told)


def statement(account: Account, *, closed: bool) -> AccountStatement:
    """The level with all below it, as a report shows it."""
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
