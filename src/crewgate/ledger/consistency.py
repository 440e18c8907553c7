"""Checks that the totals of each level equal the sum of the leases at and below it.

An engine keeps totals on every level, so that a draw reads only its path. This check adds up all
leases instead. It changes nothing.
"""

from collections.abc import Iterator

from crewgate.core.budget.ledger_lease import NOTHING, CreditTotals
from crewgate.core.credits import format_credits
from crewgate.ledger.rows import ACCOUNT, LEASE, account_of, lease_of
from crewgate.ledger.sql_session import SQLSession


def findings(session: SQLSession) -> Iterator[str]:
    """Yield a line for each inconsistency; raises LedgerUnavailableError."""
    with session.transaction():
        rows = session.rows(f"SELECT {ACCOUNT} FROM account ORDER BY length(path), key")
        leases = session.rows(f"SELECT {LEASE} FROM lease")
    accounts = {row[0]: account_of(row) for row in rows}
    sums = dict.fromkeys(accounts, NOTHING)
    for row in leases:
        account, totals = accounts[row[0]], lease_of(row).totals
        for key in {*account.path, account.key} & sums.keys():
            sums[key] = sums[key].changed(NOTHING, totals)
    for key, account in accounts.items():
        name = account.name or key.hex()
        missing = next((above for above in account.path if above not in accounts), None)
        if missing is not None:
            yield f"{name}: account {missing.hex()} above it is missing"
        yield from _differences(name, account.totals, sums[key])
        if account.totals.settled > account.quota:
            spent, quota = (format_credits(n) for n in (account.totals.settled, account.quota))
            yield (
                f"{name}: calls have spent {spent} of {quota}: somebody lowered the quota, or the "
                "ledger charged an overdraft"
            )


def _differences(name: str, kept: CreditTotals, summed: CreditTotals) -> Iterator[str]:
    for field, one, other in zip(kept._fields, kept, summed, strict=True):
        if one != other:
            yield f"{name}: {field} is {one}, but its leases add up to {other}"
