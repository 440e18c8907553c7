"""Reads how often each process of the machine has started again after an end of its own."""

import re

from crewgate._native.metrics_reader import MetricsReader
from crewgate.metrics.exposition import declared
from crewgate.metrics.families import RESTARTS

_SAMPLE = re.compile(rb'^\w+\{process="([^"\\]*)"\} (\d+)', re.MULTILINE)


class RestartCounts:
    """The counts in the memory behind a descriptor that `crewgate serve` has passed on.

    `serve` identifies that process: another one counts from 0.
    """

    def __init__(self, descriptor: int, serve: str) -> None:
        """Map the memory; OSError."""
        self.serve = serve
        self._reader = MetricsReader(descriptor, [declared(RESTARTS)])

    def read(self) -> dict[str, int]:
        """Return the count of each process by its name, such as `worker-0`."""
        found = _SAMPLE.findall(self._reader.render())
        return {name.decode("ascii", "replace"): int(count) for name, count in found}
