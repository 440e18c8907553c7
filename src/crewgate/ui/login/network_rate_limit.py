"""Limits how often each network may try to log in."""

import time
from collections.abc import Callable

from crewgate import limits
from crewgate.core import problem_types
from crewgate.core.rate_limit import TokenBucket
from crewgate.server.connection_limit import client_network


class NetworkRateLimiter:
    """The rates of the last `limits.ui_login_networks_max` networks."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[str, TokenBucket] = {}

    def take(self, address: str) -> None:
        """Count an attempt from an address. Raises ControlError 429 if there were too many."""
        network = client_network(address)
        bucket = self._buckets.pop(network, None)
        if bucket is None:
            bucket = TokenBucket(limits.ui_logins_per_second, limits.ui_logins_burst)
        self._buckets[network] = bucket
        if len(self._buckets) > limits.ui_login_networks_max:
            del self._buckets[next(iter(self._buckets))]
        if not bucket.take(self._clock()):
            raise problem_types.TOO_MANY_REQUESTS.error(
                "your network has tried to log in too often; wait a few seconds"
            )
