"""How a ledger's account is told to others, and how it is taken from what a table remembers.

Decides nothing; the figures of one level are read from its account as they stand.
"""

from crewgate import limits
from crewgate.core.charges import Account, CrewAccount, Lease
from crewgate.core.ledger import Restored, Standing, Statement, Told


def standing(account: Account, lessee: tuple[str, bytes]) -> Standing:
    """What governs the level, how far it is overdrawn, and how `lessee` (holder, boot) stands."""
    overdrawn = max(0, account.totals.charged - account.quota)
    lease = account.leases.get(lessee)
    if lease is None:
        return Standing(account.key, account.quota, account.iat, overdrawn)
    given = lease.given_back + lease.void
    told = Told(lease.seq, lease.granted, given, lease.spent, lease.lost)
    return Standing(account.key, account.quota, account.iat, overdrawn, told)


def statement(account: Account, *, closed: bool) -> Statement:
    """The level with all below it, as a report shows it."""
    totals = account.totals
    return Statement(
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
    )


def restored(saved: Restored) -> Account:
    """The account without its leases; a crew brings its windows, its allowance comes on open."""
    if saved.path:
        return Account(saved.key, saved.path, saved.quota, saved.iat)
    return CrewAccount(saved.key, (), limits.quota_micro_max, 0, hour=saved.hour, day=saved.day)


def restored_lease(saved: Restored) -> Lease:
    """The lease of the machine whose table this is; of which hour it was is not known any more."""
    return Lease(
        saved.granted, saved.given_back, saved.spent, saved.reserved, saved.burned, seq=saved.seq
    )
