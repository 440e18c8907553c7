"""How many requests of one holder are worked on at once, so that none keeps the others waiting.

Counts by who a certificate speaks for, not by certificate: a second one is no second share. What
is over it is refused at once and leaves nothing behind.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from crewgate import limits
from crewgate.core.problem_types import TOO_MANY_REQUESTS


class ConcurrencyLimiter:
    """Lets `most` requests of each holder in."""

    def __init__(self, most: int = limits.control_calls_of_one_max) -> None:
        self._most = most
        self._inside: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"<ConcurrencyLimiter {dict(self._inside)}>"

    @contextmanager
    def enter(self, holder: str) -> Iterator[None]:
        """Count a request while the block runs; ControlError 429 if there are enough."""
        if self._inside[holder] >= self._most:
            raise TOO_MANY_REQUESTS.error(
                f"{holder} has {self._most} requests under way; wait for an answer first"
            )
        self._inside[holder] += 1
        try:
            yield
        finally:
            self._inside[holder] -= 1
            if not self._inside[holder]:
                del self._inside[holder]
