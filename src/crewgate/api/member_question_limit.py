"""Limits how often orchestrators have the other machines asked: a rate for each crew.

A machine answers only so many questions of the others. Without this limit, a crew could use them
up, and operators would not learn what the machines know. Operators have no limit here.
"""

import anyio

from crewgate import limits
from crewgate.core.problem_types import TOO_MANY_REQUESTS
from crewgate.core.rate_limit import TokenBucket
from crewgate.core.x509.identity_extension import Identity, Role


class MemberQuestionLimiter:
    """A rate limit for each crew that has used a certificate."""

    def __init__(self) -> None:
        self._crews: dict[str, TokenBucket] = {}

    def take(self, caller: Identity) -> None:
        """Count a question. Raises ControlError 429 over the rate."""
        if caller.role is Role.OPERATOR:
            return
        rate = limits.crew_questions_per_second
        if caller.crew not in self._crews:
            self._crews[caller.crew] = TokenBucket(rate, limits.crew_questions_burst)
        if not self._crews[caller.crew].take(anyio.current_time()):
            raise TOO_MANY_REQUESTS.error(
                f"crew {caller.crew} may ask other machines {rate:g} times a second; retry later, "
                "or ask for the tree of all machines, which is not limited"
            )
