"""How a ledger's account is told to others, and how it is taken from what a table remembers.

Decides nothing; the figures of one level are read from its account as they stand.
"""

from crewgate import limits
from crewgate.core.charges import Account, CrewAccount, Lease
from crewgate.core.ledger import Restored, Standing, Statement


def standing(account: Account) -> Standing:
    """What governs the level, and how far it is overdrawn since its quota was lowered."""
    return Standing(
        account.key, account.quota, account.iat, max(0, account.totals.charged - account.quota)
    )


def statement(account: Account) -> Statement:
    """The level with all below it, as a report shows it."""
    totals = account.totals
    return Statement(
        account.key,
        account.path,
        account.quota,
        account.iat,
        account.closed,
        totals.settled,
        totals.reserved,
        totals.idle,
        totals.burned,
        account.quota - totals.charged,
        sum(lease.overrun for lease in account.leases.values()),
    )


def restored(saved: Restored) -> Account:
    """The account without its leases; a crew brings its windows, its allowance comes on open."""
    if saved.path:
        return Account(saved.key, saved.path, saved.quota, saved.iat, saved.closed)
    return CrewAccount(
        saved.key, (), limits.quota_micro_max, 0, saved.closed, hour=saved.hour, day=saved.day
    )


def restored_lease(saved: Restored) -> Lease:
    """The lease of the machine whose table this is; of which hour it was is not known any more."""
    return Lease(
        saved.granted, saved.given_back, saved.spent, saved.reserved, saved.burned, seq=saved.seq
    )
