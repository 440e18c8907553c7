"""A bucket of tokens, kept as the time at which it will be full again (GCRA, ITU-T I.371 annex A).

Knows no clock: whoever takes says what time it is, monotonic and in seconds.
"""

_NEAR = 1e-6  # of one token: what floats lose by rounding keeps nobody waiting


class TokenBucket:
    """Holds `burst`, and refills by `per_second`; full at first."""

    __slots__ = ("_burst", "_each", "_full_at")

    def __init__(self, per_second: float, burst: int) -> None:
        self._each = 1 / per_second
        self._burst = burst
        self._full_at = 0.0

    def take(self, now: float) -> bool:
        """Take one; False if there is none left."""
        full_at = max(self._full_at, now)
        if full_at - now > (self._burst - 1 + _NEAR) * self._each:
            return False
        self._full_at = full_at + self._each
        return True
