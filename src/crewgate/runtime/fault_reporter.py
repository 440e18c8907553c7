"""What keeps one part of the program from its work, since when; each change is said once.

Decides nothing: code that judges the health of the machine reads `why` and `since`.
"""

import time
from collections.abc import Callable


class FaultReporter:
    """None at first. `say` is given a sentence when trouble comes, changes, or has passed."""

    def __init__(self, say: Callable[[str], None], *, passed: str) -> None:
        self._log = say
        self._passed = passed
        self.why = ""
        self.since = 0.0  # seconds of CLOCK_BOOTTIME; 0 while there is none

    def note(self, why: str) -> None:
        """What is wrong now, "" where nothing is; words that stay the same as long as it does."""
        before, self.why = self.why, why
        if why == before:
            return
        if not before:
            self.since = time.clock_gettime(time.CLOCK_BOOTTIME)
        if not why:
            self.since = 0.0
        self._log(why or self._passed)
