"""How many retries an upstream is given: a share of its calls, and a few a second besides.

Without a bound, retries double the load of a server that fails because of its load (Site
Reliability Engineering, "Addressing Cascading Failures"; Finagle's RetryBudget; Envoy's
`retry_budget`). What a call earns is forgotten after the window, as in Finagle: a busy morning pays
for no storm at noon. Has no clock; decides nothing about whether a retry is safe.
"""

from crewgate import limits

_SLOTS = limits.retry_window_seconds  # of a second each


class RetryBudget:
    """The budget of one upstream in one worker.

    In the window, the running second and those before it, there are never more retries than
    `share` of the calls plus `floor` a second. `now` is in monotonic seconds; a step back counts as
    no step.
    """

    __slots__ = ("_calls", "_calls_sum", "_floor", "_retries", "_retries_sum", "_second", "_share")

    def __init__(self, share: float, floor: float = limits.retry_floor_per_second) -> None:
        self._share = share
        self._floor = floor * _SLOTS
        self._second = 0
        self._calls = [0] * _SLOTS
        self._retries = [0] * _SLOTS
        self._calls_sum = 0
        self._retries_sum = 0

    def __repr__(self) -> str:
        return f"<RetryBudget {self._retries_sum} retries of {self._calls_sum} calls>"

    def called(self, now: float) -> None:
        """Count a call; a retry of it is none."""
        if now >= self._second + 1:
            self._move(int(now))
        self._calls[self._second % _SLOTS] += 1
        self._calls_sum += 1

    def take(self, now: float) -> bool:
        """Return whether a retry may be made; it is counted if so."""
        if now >= self._second + 1:
            self._move(int(now))
        if self._retries_sum + 1 > self._share * self._calls_sum + self._floor:
            return False
        self._retries[self._second % _SLOTS] += 1
        self._retries_sum += 1
        return True

    def _move(self, second: int) -> None:
        """Forget what has left the window."""
        for passed in range(self._second + 1, min(second, self._second + _SLOTS) + 1):
            slot = passed % _SLOTS
            self._calls_sum -= self._calls[slot]
            self._retries_sum -= self._retries[slot]
            self._calls[slot] = self._retries[slot] = 0
        self._second = second
