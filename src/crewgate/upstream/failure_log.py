"""Why calls to an upstream failed, said seldom. Callers are told little, so an operator must be."""

from collections.abc import Callable

from crewgate import limits
from crewgate.errors import UpstreamError, UpstreamUnavailableError


class FailureLog:
    """Says the first failure, then one in `limits.complaint_seconds`, with how many there were."""

    def __init__(self, upstream: str, log: Callable[[str], None]) -> None:
        self._upstream = upstream
        self._log = log
        self._unsaid = 0
        self._quiet_until = 0.0

    def add(self, error: UpstreamError, now: float) -> None:
        """Take a failure that a caller was told of, at `now` (monotonic seconds)."""
        if isinstance(error, UpstreamUnavailableError):
            return  # it was said when the servers were given up
        if now < self._quiet_until:
            self._unsaid += 1
            return
        others = f"; {self._unsaid} more since the last of these lines" if self._unsaid else ""
        self._log(f"upstream {self._upstream}: a call failed: {error}{others}")
        self._unsaid, self._quiet_until = 0, now + limits.complaint_seconds
