"""A token bucket (GCRA, ITU-T I.371, annex A).

It stores only the time at which it will be full again. Callers pass in monotonic seconds.
"""

# A part of one token: rounding of floats must not delay a caller.
_TOLERANCE = 1e-6


class TokenBucket:
    """A bucket of `burst` tokens, full at first, that gains `per_second` tokens a second."""

    __slots__ = ("_burst", "_full_at", "_token_seconds")

    def __init__(self, per_second: float, burst: int) -> None:
        self._token_seconds = 1 / per_second
        self._burst = burst
        self._full_at = 0.0

    def take(self, now: float) -> bool:
        """Take one token; return False if there is none."""
        full_at = max(self._full_at, now)
        if full_at - now > (self._burst - 1 + _TOLERANCE) * self._token_seconds:
            return False
        self._full_at = full_at + self._token_seconds
        return True
