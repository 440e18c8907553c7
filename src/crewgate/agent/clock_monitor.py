"""Decides whether to trust the wall clock: it must run at the pace of CLOCK_BOOTTIME.

It reads no clock: callers pass the readings. While the wall clock is not steady, the machine is not
fresh (it admits no call), and the agent forgets nothing.
"""

from crewgate import limits

_STEP = round(limits.clock_step_seconds_max * 1e9)
_SETTLE = round(limits.clock_settle_seconds * 1e9)


class ClockMonitor:
    """Compares the two clocks at every reading.

    The trusted offset follows a slewed clock, but no faster than a kernel slews, so many small
    steps count like one large step. A clock that stepped is trusted again when it is back, or when
    it has stayed at its new offset for `limits.clock_settle_seconds`.
    """

    def __init__(self, wall_ns: int, boot_ns: int) -> None:
        self._offset = wall_ns - boot_ns
        self._last_reading_ns = boot_ns
        # The offset to which the clock has stepped, and since when it has it.
        self._stepped: int | None = None
        self._since = boot_ns

    @property
    def offset_ns(self) -> int:
        """The trusted offset: CLOCK_BOOTTIME plus this is the wall time without any step."""
        return self._offset

    @property
    def step_seconds(self) -> float:
        """How far the wall clock is ahead of the trusted time; 0 while it is steady."""
        return 0.0 if self._stepped is None else (self._stepped - self._offset) / 1e9

    def is_steady(self, wall_ns: int, boot_ns: int) -> bool:
        """Return whether the wall clock is steady, by one reading of both clocks (nanoseconds)."""
        offset = wall_ns - boot_ns
        slewed = (boot_ns - self._last_reading_ns) * limits.clock_slew_ppm_max // 1_000_000
        self._last_reading_ns = boot_ns
        if abs(offset - self._offset) <= _STEP:
            self._stepped = None
            self._offset += max(-slewed, min(slewed, offset - self._offset))
            return True
        if self._stepped is None or abs(offset - self._stepped) > _STEP:
            self._stepped, self._since = offset, boot_ns
        if boot_ns - self._since < _SETTLE:
            return False
        self._offset, self._stepped = offset, None
        return True
