"""Decides when a load test sends its next request, and when it sends no more.

At a fixed rate, the time of a request counts from when it was due. So a gateway that answers late
cannot hide the requests that wait for it ("coordinated omission").
"""

from crewgate import limits
from crewgate.load_test.plan import Step

WAIT_SECONDS = 0.05  # for input, while no request is due


class Pacer:
    """The schedule of one step, which begins at `began`. All times are seconds of one clock."""

    def __init__(self, step: Step, began: float) -> None:
        self._began = began
        self._rate = step.rate
        self._until = began + step.seconds
        most = limits.load_test_requests_max
        if step.rate:
            self._count = min(most, round(step.rate * step.seconds))
        else:
            self._count = step.requests or most
        self._sent = 0

    def due(self, now: float) -> float | None:
        """Return when the next request was due, if it is due at `now`; else None."""
        if self.is_over(now):
            return None
        moment = self._began + self._sent / self._rate if self._rate else now
        return moment if moment <= now else None

    def note_sent(self) -> None:
        """Count one request."""
        self._sent += 1

    def is_over(self, now: float) -> bool:
        """Return whether no further request will be due."""
        return self._sent >= self._count or now >= self._until

    def seconds_to_next(self, now: float) -> float:
        """Return how long the client may wait for input."""
        if not self._rate or self.is_over(now):
            return WAIT_SECONDS
        return min(WAIT_SECONDS, max(0.0, self._began + self._sent / self._rate - now))

    @property
    def unsent(self) -> int:
        """Requests that a fixed rate asks for and that were not sent."""
        return self._count - self._sent if self._rate else 0
