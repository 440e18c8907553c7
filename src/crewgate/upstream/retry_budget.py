"""Bounds the retries of an upstream: a share of its recent calls, plus a few each second.

Without a bound, retries double the load of a server that fails because of its load (Site
Reliability Engineering, "Addressing Cascading Failures"; Finagle's RetryBudget; Envoy's
`retry_budget`). Calls count only within the window, as in Finagle: a busy morning allows no storm
of retries at noon. This module has no clock, and does not decide whether a retry is safe.
"""

from crewgate import limits

_SLOTS = limits.retry_window_seconds  # one slot for each second


class RetryBudget:
    """The retry budget of one upstream in one worker.

    The window is the current second and those before it. A window never has more retries than
    `share` of its calls plus `floor` a second. `now` is in monotonic seconds; a step back in time
    is ignored.
    """

    def __init__(self, share: float, floor: float = limits.retry_floor_per_second) -> None:
        self._share = share
        self._floor = floor * _SLOTS
        self._second = 0
        self._calls = [0] * _SLOTS
        self._retries = [0] * _SLOTS
        self._calls_sum = 0
        self._retries_sum = 0

    def called(self, now: float) -> None:
        """Count a call; do not count its retries."""
        if now >= self._second + 1:
            self._move(int(now))
        self._calls[self._second % _SLOTS] += 1
        self._calls_sum += 1

    def take(self, now: float) -> bool:
        """Return whether a retry is allowed, and count it if so."""
        if now >= self._second + 1:
            self._move(int(now))
        if self._retries_sum + 1 > self._share * self._calls_sum + self._floor:
            return False
        self._retries[self._second % _SLOTS] += 1
        self._retries_sum += 1
        return True

    def _move(self, second: int) -> None:
        for passed in range(self._second + 1, min(second, self._second + _SLOTS) + 1):
            slot = passed % _SLOTS
            self._calls_sum -= self._calls[slot]
            self._retries_sum -= self._retries[slot]
            self._calls[slot] = self._retries[slot] = 0
        self._second = second
