"""Whether a ledger's books add up: every level's totals are those of the leases at and below it.

Changes nothing. An engine keeps totals on every level, so that a draw reads its path alone; this is
the slow sum that they must equal.
"""

from collections.abc import Iterator

from crewgate.core.budget.lease import NOTHING, LeaseTotals
from crewgate.core.credits import format_credits
from crewgate.ledger.rows import ACCOUNT, LEASE, account_of, lease_of
from crewgate.ledger.session import SQLSession


def findings(session: SQLSession) -> Iterator[str]:
    """What does not add up, a line for each; LedgerUnavailableError."""
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
            yield f"{name}: its level {missing.hex()} is not there"
        yield from _differences(name, account.totals, sums[key])
        if account.totals.settled > account.quota:
            spent, quota = (format_credits(n) for n in (account.totals.settled, account.quota))
            yield f"{name}: {spent} is spent of {quota}; its quota was lowered after that"


def _differences(name: str, said: LeaseTotals, summed: LeaseTotals) -> Iterator[str]:
    for field, one, other in zip(said._fields, said, summed, strict=True):
        if one != other:
            yield f"{name}: {field} is {one}, and its leases have {other}"
