"""Keeps the newest result of a slow question for a short time; one caller at a time asks."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class SingleFlightCache(Generic[T]):
    """The result of `make`, kept for `seconds`; callers wait while another one makes it."""

    def __init__(
        self,
        make: Callable[[], T],
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make = make
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._made: tuple[float, T] | None = None

    def fresh(self) -> T | None:
        """Return the kept result if it is recent enough, else None; never waits."""
        made = self._made
        return made[1] if made and self._clock() - made[0] < self._seconds else None

    def get(self) -> T:
        """Return the kept result, or make a new one if it is too old."""
        with self._lock:
            found = self.fresh()
            if found is None:
                found = self._make()
                self._made = (self._clock(), found)
            return found
