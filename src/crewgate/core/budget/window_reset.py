"""When credits that are spent come back by themselves: a crew's of an hour and of a day do.

A branch has one cap for its life; only a crew has allowances that begin anew. The ledger says which
account cannot pay, and which hour or day is spent if that is why: its word counts, as a machine's
clock may be behind the newest that the ledger has seen. Knows no clock and no table.
"""

from msgspec import structs

from crewgate.core.budget.ledger_protocol import window_end
from crewgate.core.verdict import Denial, SpentWindow


def explained(denial: Denial, now: float) -> Denial:
    """The same denial with the end of the window that is spent, if one is; `now` is the wall clock.

    A call that needs more than the cap waits for no window.
    """
    if not denial.window_number or denial.need_micro > denial.quota_micro:
        return denial
    length, end = window_end(denial.window_number)
    return structs.replace(denial, window=SpentWindow(length, end, max(0, end - int(now))))
