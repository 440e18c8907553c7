"""Limits how many tokens, or certificates of branches, each orchestrator gets in a second."""

import time
from collections import OrderedDict

from crewgate import limits
from crewgate.core import problem_types
from crewgate.core.rate_limit import TokenBucket


class OrchestratorRateLimiter:
    """A token bucket for each orchestrator; it forgets the least recently used one.

    `what` is the plural of what an orchestrator gets, for the message.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._buckets: OrderedDict[tuple[str, str], TokenBucket] = OrderedDict()

    def take(self, crew: str, name: str) -> None:
        """Count one for an orchestrator. ControlError if that is too fast."""
        bucket = self._buckets.pop((crew, name), None)
        if bucket is None:
            bucket = TokenBucket(limits.tokens_per_second, limits.tokens_burst)
        if len(self._buckets) >= limits.token_buckets_max:
            self._buckets.popitem(last=False)
        self._buckets[crew, name] = bucket
        if not bucket.take(time.monotonic()):
            raise problem_types.SLOW_DOWN.error(
                f"{crew}/{name} may get {limits.tokens_per_second} {self._what} a second"
            )
