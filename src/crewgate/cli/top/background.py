"""Asks the machines and ends branches beside the screen, so that keys work meanwhile.

A reading that takes long is made less often: whoever looks must not slow down the agent.
"""

import queue
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from crewgate import limits
from crewgate.cli.top.reading import Reading, Readings
from crewgate.cli.top.source import Source
from crewgate.errors import CrewgateError
from crewgate.runtime.durable_files import describe


class Receipt(NamedTuple):
    """What an order has done, or why it failed, in lines for a person."""

    title: str
    lines: list[str]


class Failure(NamedTuple):
    """A reading that failed, and why."""

    why: str


class Background:
    """Two threads: one reads again and again, one carries out orders, each in turn.

    `results` has readings, failures and receipts; `wake` is called after each.
    """

    def __init__(self, source: Source, interval: float, wake: Callable[[], None]) -> None:
        self.results: queue.SimpleQueue[Reading | Failure | Receipt | BaseException] = (
            queue.SimpleQueue()
        )
        # When the last reading that was answered began, and the one that waits for its answer.
        self.answered_at = time.monotonic()
        self.asked_at: float | None = None
        self._source = source
        self._interval = interval
        self._wake = wake
        self._orders: queue.SimpleQueue[tuple[str, Callable[[], list[str]]]] = queue.SimpleQueue()
        self._ending = threading.Event()

    def start(self) -> None:
        """Begin to read. The threads end with the process: they may wait for the agent."""
        for work in (self._read, self._carry_out):
            threading.Thread(target=self._guarded, args=(work,), daemon=True).start()

    def stop(self) -> None:
        """Begin no further reading."""
        self._ending.set()

    def order(self, title: str, work: Callable[[], list[str]]) -> None:
        """Have `work` done, which returns the lines of its receipt; CrewgateError or OSError."""
        self._orders.put((title, work))

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - the thread of the screen raises it
            self._put(error)

    def _put(self, result: Reading | Failure | Receipt | BaseException) -> None:
        self.results.put(result)
        self._wake()

    def _read(self) -> None:
        readings, is_first = Readings(), True
        while not self._ending.is_set():
            began = self.asked_at = time.monotonic()
            try:
                found = self._source.read()
                self.answered_at = began
                self._put(readings.take(found, began))
                seconds = pause(began, time.monotonic(), self._interval)
                if is_first:  # rates need a second reading, and a person waits for them
                    seconds, is_first = min(seconds, self._interval), False
            except (CrewgateError, OSError) as error:
                self._put(Failure(_words(error)))
                seconds = self._interval
            self.asked_at = None
            self._ending.wait(seconds)

    def _carry_out(self) -> None:
        while True:
            title, work = self._orders.get()
            try:
                lines = work()
            except (CrewgateError, OSError) as error:
                lines = [_words(error), "The next readings show whether it took effect."]
            self._put(Receipt(title, lines))


def pause(began: float, now: float, interval: float) -> float:
    """Return the seconds until the next reading, after one that lasted from `began` to `now`."""
    lasted = now - began
    return max(interval - lasted, lasted / limits.top_busy_share - lasted, 0.0)


def _words(error: CrewgateError | OSError) -> str:
    return describe(error) if isinstance(error, OSError) else str(error)
