"""Whether credits that are spent come back by themselves: a crew's of an hour and of a day do.

A branch has one cap for its life; only a crew has allowances that begin anew. The ledger says which
account cannot pay and by which cap; this says which window that cap belongs to, and when it ends.
Knows no clock and no table.
"""

from msgspec import structs

from crewgate import limits
from crewgate.core.ledger import WINDOW_SECONDS_DAY, WINDOW_SECONDS_HOUR
from crewgate.core.policy import Policy
from crewgate.core.verdict import Denial, Reason, Spent


def explained(denial: Denial, policy: Policy, now: float) -> Denial:
    """The same denial with the window that is spent, if it is one; `now` is the wall clock."""
    grant = denial.grant
    if denial.reason is not Reason.CREDITS_EXHAUSTED or grant is None or denial.level != grant.crew:
        return denial
    crew = next((crew for crew in policy.crews if crew.name == grant.crew), None)
    if crew is None or denial.quota >= limits.quota_micro_max:
        return denial
    if denial.need > denial.quota:  # no window ever has so much
        return denial
    # An hour is never spent before the day where both have the same cap.
    is_days = denial.quota == crew.daily_max
    seconds = WINDOW_SECONDS_DAY if is_days else WINDOW_SECONDS_HOUR
    ends = (int(now) // seconds + 1) * seconds
    return structs.replace(denial, window=Spent(seconds, ends, ends - int(now)))
