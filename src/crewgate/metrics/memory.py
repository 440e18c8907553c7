"""The memory of all metrics of a machine, and who counts in which part of it.

`crewgate serve` keeps it from its start to its end. It is a file without a name (memfd), so it
needs no disk, and no process can shrink it under another one.
"""

import fcntl
import logging
import os
from pathlib import Path
from typing import Self

from crewgate import limits
from crewgate._native.metrics import SHARD_BYTES, MetricsShard
from crewgate.metrics.families import RESTARTS
from crewgate.metrics.process_metrics import VARIABLE, ProcessMetrics

_log = logging.getLogger(__name__)


class MetricsMemory:
    """Assigns shards to processes, each to one process at a time."""

    def __init__(self, shards_max: int = limits.metrics_shards_max) -> None:
        """Make the memory; OSError. The kernel gives it pages when a process first uses them."""
        self.descriptor = os.memfd_create("crewgate-metrics", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.truncate(self.descriptor, shards_max * SHARD_BYTES)
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, seals)
        self._unused = iter(range(1, shards_max))
        self._free: dict[int, str] = {}  # shard -> the name of the process that had it last
        self.own = ProcessMetrics(MetricsShard(self.descriptor, 0))

    @classmethod
    def make(cls) -> Self | None:
        """Make the memory; None if the kernel has none, since calls need no metrics."""
        try:
            return cls()
        except OSError as error:
            _log.warning("no metrics are counted: the memory for them: %s", error.strerror)
            return None

    def assign(self, name: str) -> int | None:
        """Return a shard for the process `name`: its last one if that is free.

        None if too many processes run.
        """
        mine = (shard for shard, last in self._free.items() if last == name)
        chosen = next(mine, None)
        if chosen is None:
            chosen = next(self._unused, None)
        if chosen is None:
            chosen = next(iter(self._free), None)
        self._free.pop(-1 if chosen is None else chosen, None)
        return chosen

    def release(self, shard: int, name: str) -> None:
        """Take a shard back from a process that has ended, however it ended.

        The calls are counted whose audit lines it has still written. Its gauges are no longer
        shown. A damaged shard is given to no other process.
        """
        try:
            counted = MetricsShard(self.descriptor, shard)
            counted.replay(_size(counted.file))
            counted.hide_gauges()
        except ValueError as error:
            _log.warning("the metrics of %s are damaged: %s", name, error)
            return
        except OSError as error:
            _log.warning("the metrics of %s cannot be completed: %s", name, error)
        self._free[shard] = name

    def variables(self, shard: int | None) -> dict[str, str]:
        """Return the environment variable that names a shard to its process."""
        return {} if shard is None else {VARIABLE: f"{self.descriptor}:{shard}"}

    def started(self, name: str, *, was_lost: bool) -> None:
        """Count a process that starts again after an end that it was not asked for.

        The count of the others is 0: an alert sees only what is counted after it.
        """
        self.own.series(RESTARTS, name.replace(" ", "-")).add(was_lost)


def _size(path: bytes) -> int:
    """Return the size of an audit file in bytes; 0 if there is none."""
    try:
        return Path(os.fsdecode(path)).stat().st_size if path else 0
    except OSError:
        return 0
