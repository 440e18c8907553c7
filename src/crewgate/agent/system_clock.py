"""The clocks of this machine, read for everyone else in the agent; a test has virtual ones."""

import time

from crewgate.agent.revocation.types import ClockReading


class SystemClock:
    """The two real clocks; a virtual one in tests."""

    def wall_ns(self) -> int:
        """Nanoseconds since the epoch."""
        return time.time_ns()

    def boot_ns(self) -> int:
        """CLOCK_BOOTTIME: counts on while the machine sleeps, and nobody sets it."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def monotonic_ns(self) -> int:
        """CLOCK_MONOTONIC: what cuts are timed by."""
        return time.monotonic_ns()

    def read(self) -> ClockReading:
        """Both, as they are passed on."""
        return ClockReading(wall=self.wall_ns() // 10**9, boot_ns=self.boot_ns())
