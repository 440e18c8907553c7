"""What a gateway's processes hold at a quiet point, and whether that grows with the work done.

A leak is a trend, not a number. Descriptors, tasks and threads must not grow at all. Memory may, by
caches: they know each grant that they met (a reload makes them meet it again). So every second
period is still: nobody is minted, ended or reloaded, and what grows then grows with the calls.
"""

import json
import math
import os
import signal
import statistics
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import msgspec
import trio
from soak_errors import Faults
from soak_site import SoakSite
from soak_waiting import until

LOOK_SECONDS = 20.0


class Allowance(NamedTuple):
    """How much more may be held at the end of a soak: flat, and for each grant met.

    `still` bounds the median growth of a still period, `once` that of one or two of them.
    """

    flat: float
    per_grant: float = 0.0
    still: float = math.inf
    once: float = math.inf


# A worker keeps each token (2.6 KiB in 36 blocks), its fields, and a line of the audit for each of
# its tools; the agent each branch, for a day.
ALLOWED = {
    "descriptors": Allowance(3),
    "tasks": Allowance(2),  # a server's health may just be asked for
    "threads": Allowance(4),
    "blocks": Allowance(6000, 160, still=2500, once=6000),
    "malloc_kib": Allowance(2048, 16, still=256, once=1024),
    # What is free inside malloc's heap is no leak, and a peak leaves some behind.
    "memory_kib": Allowance(8192, 24, still=4096, once=8192),
}


class Sample(msgspec.Struct, frozen=True):
    """One process at one quiet point."""

    name: str
    pid: int
    still: bool  # whether the period before it was
    grants: int  # that a worker may have met by then
    requests: int  # that had reached a tool by then
    descriptors: int
    threads: int
    tasks: int
    blocks: int  # of Python's allocator
    malloc_kib: int  # given out by the C library: buffers, OpenSSL, nghttp2
    memory_kib: int  # anonymous and resident: without the shared table
    kinds: dict[str, int]  # of objects that the collector knows

    def __str__(self) -> str:
        return (
            f"{self.name:9} {self.pid:8} {self.requests:9} {self.descriptors:6} {self.tasks:6} "
            f"{self.threads:8} {self.blocks:9} {self.malloc_kib:10} {self.memory_kib:9}"
        )


HEADING = "process        pid  requests    fds  tasks  threads    blocks malloc KiB  anon KiB"


def descriptors(pid: int) -> int:
    """How many a process has open."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def processes(site: SoakSite) -> dict[str, int]:
    """The gateway's processes by name."""
    found = {}
    for kind in ("agent", "gateway"):
        for pid in site.children(kind):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            index = words[words.index(b"--worker") + 1].decode() if b"--worker" in words else ""
            found[f"worker {index}" if index else "agent"] = pid
    return found


async def measure(site: SoakSite, *, still: bool, grants: int, requests: int) -> list[Sample]:
    """Look at every process."""
    return [
        await _sample(site, name, pid, Work(still, grants, requests))
        for name, pid in sorted(processes(site).items())
    ]


class Work(NamedTuple):
    """What had been done by a quiet point."""

    still: bool
    grants: int
    requests: int


async def _sample(site: SoakSite, name: str, pid: int, work: Work) -> Sample:
    seen = site.eyes / f"{pid}.json"
    seen.unlink(missing_ok=True)
    os.kill(pid, signal.SIGUSR1)
    with trio.fail_after(LOOK_SECONDS):
        await until(seen.exists, 0.05)
    eyes = json.loads(seen.read_text())
    status = _status(pid)
    return Sample(
        name=name,
        pid=pid,
        still=work.still,
        grants=work.grants,
        requests=work.requests,
        descriptors=descriptors(pid),
        threads=int(status["Threads"]),
        tasks=sum(eyes["tasks"].values()),
        blocks=eyes["blocks"],
        malloc_kib=eyes["malloc"][0],
        memory_kib=int(status["RssAnon"].split()[0]),
        kinds=eyes["kinds"],
    )


def _status(pid: int) -> dict[str, str]:
    """What proc(5) says of a process."""
    text = Path(f"/proc/{pid}/status").read_text()
    return dict(line.split(":", 1) for line in text.splitlines())


def judge(samples: list[Sample], faults: Faults) -> None:
    """Find what grows in any process that was there at three quiet points or more."""
    series: dict[tuple[str, int], list[Sample]] = {}
    for sample in samples:
        series.setdefault((sample.name, sample.pid), []).append(sample)
    for found in series.values():
        warm = found[1:]  # the first call of each kind fills what is filled once
        if len(warm) >= 2:
            third = max(1, len(warm) // 3)
            _compare(warm[:third], warm[-third:], faults)
            _compare_still(warm, faults)


def _compare(early: list[Sample], late: list[Sample], faults: Faults) -> None:
    """The end of a soak against its start."""
    grants = late[-1].grants - early[0].grants
    for what, allowed in ALLOWED.items():
        before = statistics.median(getattr(each, what) for each in early)
        after = statistics.median(getattr(each, what) for each in late)
        bound = allowed.flat + allowed.per_grant * grants
        if after - before > bound:
            faults.add(
                f"{late[-1].name} leaks {what}",
                f"{before:.0f} -> {after:.0f} over {late[-1].requests - early[0].requests} "
                f"requests and {grants} grants (allowed {bound:.0f}){_more(early[0], late[-1])}",
            )


def _compare_still(samples: list[Sample], faults: Faults) -> None:
    """Each still period against itself."""
    pairs = [(one, other) for one, other in pairwise(samples) if other.still]
    if not pairs:
        return
    for what, allowed in ALLOWED.items():
        growth = [getattr(other, what) - getattr(one, what) for one, other in pairs]
        bound = allowed.still if len(pairs) > 2 else allowed.once
        if statistics.median(growth) > bound:
            requests = sum(other.requests - one.requests for one, other in pairs)
            faults.add(
                f"{samples[0].name} leaks {what} with its calls",
                f"{growth} in still periods with {requests} requests (allowed {bound:.0f})"
                f"{_more(*pairs[-1])}",
            )


def _more(early: Sample, late: Sample) -> str:
    """Which objects there are more of."""
    more = Counter(late.kinds)
    more.subtract(early.kinds)
    return f"; more objects: {[pair for pair in more.most_common(6) if pair[1] > 0]}"
