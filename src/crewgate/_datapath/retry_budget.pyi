"""Bounds the retries of an upstream: a share of its recent calls, plus a few each second.

Without a bound, retries double the load of a server that fails because of its load (Site
Reliability Engineering, "Addressing Cascading Failures"; Finagle's RetryBudget; Envoy's
`retry_budget`). Calls count only within the window, as in Finagle: a busy morning allows no storm
of retries at noon. This module has no clock, and does not decide whether a retry is safe.
"""

class RetryBudget:
    """The retry budget of one upstream in one worker.

    The window is the current second and those before it. A window never has more retries than
    `share` of its calls plus `floor` a second. `now` is in monotonic seconds; a step back in time
    is ignored.
    """

    def __init__(self, share: float, floor: float = ...) -> None: ...
    def called(self, now: float) -> None:
        """Count a call; do not count its retries."""
    def take(self, now: float) -> bool:
        """Return whether a retry is allowed, and count it if so."""
