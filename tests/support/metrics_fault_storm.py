"""Kills a process before each store that it makes while it counts calls, and counts again.

Run with the fault-injection build (CREWGATE_FAULTS=1) first on the path, and a folder. Prints how
many stores there were. Each time, the calls that the metrics have must be those whose lines are
whole in the file, and each of them once.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from crewgate._native.metrics import (
    SHARD_BYTES,
    CallBatch,
    CallSeries,
    MetricsShard,
    Series,
    arm_fault,
)

LINES = [b"x" * size + b"\n" for size in (10, 200, 31, 4)]
COST, TIME = 7, 3_000_000


def _series(shard: MetricsShard, name: bytes, kind: str, bounds: tuple[int, ...] = ()) -> Series:
    number = shard.enter(name, b"", kind, bounds=bounds)  # type: ignore[arg-type]
    assert number is not None
    return Series(shard, number)


class Counted:
    """The series of a call in a shard."""

    def __init__(self, descriptor: int) -> None:
        self.shard = MetricsShard(descriptor, 0)
        self.requests = _series(self.shard, b"requests_total", "counter")
        self.spent = _series(self.shard, b"spent_total", "counter")
        self.duration = _series(self.shard, b"seconds", "histogram", (1_000_000, 5_000_000))
        histograms, counters = (self.duration,), (self.requests, self.spent)
        self.call = CallSeries(histograms, counters)


def write(descriptor: int, path: Path, written: int, stores: int) -> None:
    """Write a call, then a batch of them, of which `written` bytes reach the file.

    Killed at some store of the batch.
    """
    counted, batch = Counted(descriptor), CallBatch()
    counted.shard.file = os.fsencode(path)
    with path.open("wb", buffering=0) as file:
        at = 0
        for lines, data in ((LINES[:1], LINES[0]), (LINES, b"".join(LINES)[:written])):
            for line in lines:
                batch.add(counted.call, len(line), TIME, -1, -1, COST, 0, 0)
            if at and not arm_fault(stores):
                raise SystemExit("this is not the build that can be killed between two stores")
            counted.shard.begin(batch, at)
            at += file.write(data)
            if len(data) < sum(map(len, lines)):
                os.kill(os.getpid(), signal.SIGKILL)
            counted.shard.commit()
    arm_fault(0)


def repair(descriptor: int, size: int, stores: int) -> None:
    """Repair what a killed process left; killed at some store."""
    counted = Counted(descriptor)
    arm_fault(stores)
    counted.shard.replay(size)
    arm_fault(0)


def in_child(work: Callable[[], None]) -> bool:
    """Do `work` in a process of its own; return whether it was killed."""
    child = os.fork()
    if not child:
        work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def storm(folder: Path) -> int:
    """Kill one process for each store and each size of the file; return the number of stores."""
    whole, path, stores = sum(map(len, LINES)), folder / "audit", 0
    for written in (whole, 0, 10, 11, 12, 211, 247):
        for at in range(1, 10_000):
            descriptor = os.memfd_create("metrics")
            os.ftruncate(descriptor, SHARD_BYTES)
            killed = in_child(lambda: write(descriptor, path, written, at))  # noqa: B023 - the same
            counted = Counted(descriptor)
            size = path.stat().st_size
            for stop in (1, 2, 5, 7):
                in_child(lambda: repair(descriptor, size, stop))  # noqa: B023 - called at once
            counted.shard.replay(size)
            lines = path.read_bytes().count(b"\n")
            found = counted.requests.value, counted.spent.value
            assert found == (lines, lines * COST), (written, at, found, lines)
            os.close(descriptor)
            if written == whole:
                stores += killed
                if not killed:
                    break
            elif at > stores:
                break
    return stores


if __name__ == "__main__":
    print(storm(Path(sys.argv[1])))
