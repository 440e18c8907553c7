"""Limits the concurrent requests of each holder, so that no holder delays the others.

It counts by the identity in a certificate, so two certificates of one holder share one limit. A
request over the limit is refused at once.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from crewgate import limits
from crewgate.core.problem_types import TOO_MANY_REQUESTS


class CallerConcurrencyLimiter:
    """Admits up to `requests_max` concurrent requests of each holder."""

    def __init__(self, requests_max: int = limits.control_calls_of_one_max) -> None:
        self._max = requests_max
        self._active: Counter[str] = Counter()

    @contextmanager
    def enter(self, holder: str) -> Iterator[None]:
        """Count a request while the block runs. Raises ControlError 429 over the limit."""
        if self._active[holder] >= self._max:
            raise TOO_MANY_REQUESTS.error(
                f"{holder} has {self._max} requests in progress; wait for a response first"
            )
        self._active[holder] += 1
        try:
            yield
        finally:
            self._active[holder] -= 1
            if not self._active[holder]:
                del self._active[holder]
