"""Adds to a denial when its spent credits come back: only a crew's hour and day begin again.

A branch has one quota for its life. The ledger names the account that cannot pay and, if that is
the reason, the spent hour or day. The ledger decides this, since the clock of a machine may be
behind the newest time that the ledger has seen.
"""

from msgspec import structs

from crewgate.core.budget.ledger_protocol import window_end
from crewgate.core.verdict import Denial, SpentWindow


def explained(denial: Denial, now: float) -> Denial:
    """Return the denial with the end of its spent window; `now` is the wall clock in seconds.

    A denial without a window stays as it is, and so does one of a call that needs more credit than
    a whole window has: no wait helps there.
    """
    if not denial.window_number or denial.need_micro > denial.quota_micro:
        return denial
    length, end = window_end(denial.window_number)
    return structs.replace(denial, window=SpentWindow(length, end, max(0, end - int(now))))
