"""Notes once in a while what a process uses: memory, CPU, descriptors; and how late its loop is."""

import resource
import time
from contextlib import suppress
from pathlib import Path

import trio

from crewgate import limits
from crewgate.metrics import families
from crewgate.metrics.process_metrics import ProcessMetrics
from crewgate.runtime.ticks import next_tick
from crewgate.version import __version__

_PAGE_BYTES = resource.getpagesize()


async def observe_process(metrics: ProcessMetrics, process: str) -> None:
    """Keep the figures of this process up to date, until cancelled; a task of its event loop."""
    lag = metrics.series(families.LOOP_LAG, process)
    updated = metrics.series(families.LAST_UPDATE, process)
    longest, notes_at = 0.0, -1.0
    while True:
        due = next_tick(limits.metrics_interval_seconds)
        updated.set(time.time_ns())
        if trio.current_time() >= notes_at:
            notes_at = trio.current_time() + limits.metrics_process_seconds
            note_usage(metrics, process)
            lag.set(round(longest * 1e9))
            longest = 0.0
        await trio.sleep_until(due)
        longest = max(longest, trio.current_time() - due)


def note_usage(metrics: ProcessMetrics, process: str) -> None:
    """Note memory, CPU time and descriptors of this process now.

    What cannot be read keeps its last value: the files of /proc need a descriptor, and a process
    that has used up its own must go on.
    """
    series = metrics.series
    series(families.BUILD, __version__).set(1)
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = used.ru_utime + used.ru_stime
    series(families.CPU, process).follow(round(seconds * 1e9))
    series(families.MAX_FILES, process).set(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    with suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        series(families.MEMORY, process).set(pages * _PAGE_BYTES)
        count = sum(1 for _ in Path("/proc/self/fd").iterdir())  # and this look itself
        series(families.OPEN_FILES, process).set(count - 1)
