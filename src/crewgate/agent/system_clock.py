"""Reads the clocks of this machine for the whole agent."""

import time

from crewgate.agent.revocation.types import ClockReading


class SystemClock:
    """The real clocks; tests replace them with virtual ones."""

    def wall_ns(self) -> int:
        """Return the wall clock: nanoseconds since 1970."""
        return time.time_ns()

    def boot_ns(self) -> int:
        """Return CLOCK_BOOTTIME, which counts while the machine sleeps and which no one can set."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def monotonic_ns(self) -> int:
        """Return CLOCK_MONOTONIC, which times the cuts of a revocation."""
        return time.monotonic_ns()

    def read(self) -> ClockReading:
        """Return the wall clock (seconds) and CLOCK_BOOTTIME (nanoseconds)."""
        return ClockReading(wall=self.wall_ns() // 10**9, boot_ns=self.boot_ns())
