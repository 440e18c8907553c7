"""What a gateway's processes hold at a quiet point, and whether that grows with the work done.

A leak is a trend: the last third of the quiet points of one process against the first third after
its warm-up. Caches that fill have an allowance, for each branch that was minted meanwhile too.
"""

import json
import os
import signal
import statistics
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import msgspec
import trio
from soak_faults import Faults
from soak_site import SoakSite
from soak_waiting import until

LOOK_SECONDS = 20.0


class Allowance(NamedTuple):
    """How much more may be held at the end than at the start, and for each new branch."""

    flat: float
    per_branch: float = 0.0


# A worker keeps each newest token (2 KiB) and its identity; the agent keeps each branch for a day.
ALLOWED = {
    "descriptors": Allowance(3),
    "tasks": Allowance(0),
    "threads": Allowance(4),
    "blocks": Allowance(4000, 120),
    "memory_kib": Allowance(3072, 8),
}


class Sample(msgspec.Struct, frozen=True):
    """One process at one quiet point."""

    name: str
    pid: int
    minted: int  # branches, by then
    requests: int  # that had reached a tool by then
    descriptors: int
    threads: int
    tasks: int
    blocks: int  # of Python's allocator
    memory_kib: int  # anonymous and resident: without the shared table
    kinds: dict[str, int]  # of objects that the collector knows

    def __str__(self) -> str:
        return (
            f"{self.name:9} {self.pid:8} {self.requests:9} {self.descriptors:6} {self.tasks:6} "
            f"{self.threads:8} {self.blocks:9} {self.memory_kib:9}"
        )


HEADING = "process        pid  requests    fds  tasks  threads    blocks  anon KiB"


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


async def measure(site: SoakSite, minted: int, requests: int) -> list[Sample]:
    """Look at every process."""
    return [
        await _sample(site, name, pid, minted, requests)
        for name, pid in sorted(processes(site).items())
    ]


async def _sample(site: SoakSite, name: str, pid: int, minted: int, requests: int) -> Sample:
    seen = site.eyes / f"{pid}.json"
    seen.unlink(missing_ok=True)
    os.kill(pid, signal.SIGUSR2)
    with trio.fail_after(LOOK_SECONDS):
        await until(seen.exists, 0.05)
    eyes = json.loads(seen.read_text())
    status = _status(pid)
    return Sample(
        name=name,
        pid=pid,
        minted=minted,
        requests=requests,
        descriptors=descriptors(pid),
        threads=int(status["Threads"]),
        tasks=sum(eyes["tasks"].values()),
        blocks=eyes["blocks"],
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
    for (name, _), found in series.items():
        warm = found[1:]
        third = max(1, len(warm) // 3)
        if len(warm) >= 2:
            _compare(name, warm[:third], warm[-third:], faults)


def _compare(name: str, early: list[Sample], late: list[Sample], faults: Faults) -> None:
    minted = late[-1].minted - early[0].minted
    for what, allowed in ALLOWED.items():
        before = statistics.median(getattr(each, what) for each in early)
        after = statistics.median(getattr(each, what) for each in late)
        bound = allowed.flat + allowed.per_branch * minted
        if after - before > bound:
            more = Counter(late[-1].kinds)
            more.subtract(early[0].kinds)
            faults.add(
                f"{name} leaks {what}",
                f"{before:.0f} -> {after:.0f} over {late[-1].requests - early[0].requests} "
                f"requests and {minted} branches (allowed {bound:.0f}); more objects: "
                f"{[pair for pair in more.most_common(6) if pair[1] > 0]}",
            )
