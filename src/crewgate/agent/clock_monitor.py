"""Whether the wall clock can be believed: it must run along with CLOCK_BOOTTIME.

Reads no clock: readings come as arguments. While the clock is not steady the machine is not fresh
(nothing is admitted) and nothing is forgotten.
"""

from crewgate import limits

_STEP = round(limits.clock_step_seconds_max * 1e9)
_SETTLE = round(limits.clock_settle_seconds * 1e9)


class ClockMonitor:
    """Compares the two clocks at every look.

    The trusted offset follows a slewed clock, but no faster than a kernel slews, so that many
    small steps are seen like one large one. A stepped clock is trusted again when it is back, or
    when it has stayed at its new offset for `limits.clock_settle_seconds`.
    """

    def __init__(self, wall_ns: int, boot_ns: int) -> None:
        self._offset = wall_ns - boot_ns
        self._looked = boot_ns
        self._stepped: int | None = None  # the offset that the clock has stepped to
        self._since = boot_ns

    @property
    def offset_ns(self) -> int:
        """What is to be added to CLOCK_BOOTTIME for a time of day that no jump has touched."""
        return self._offset

    @property
    def step_seconds(self) -> float:
        """How far the wall clock is from where it should be; 0 while it is steady."""
        return 0.0 if self._stepped is None else (self._stepped - self._offset) / 1e9

    def is_steady(self, wall_ns: int, boot_ns: int) -> bool:
        """Judge one reading of both clocks (nanoseconds), taken together."""
        offset = wall_ns - boot_ns
        slewed = (boot_ns - self._looked) * limits.clock_slew_ppm_max // 1_000_000
        self._looked = boot_ns
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
