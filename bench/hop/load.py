"""Load by h2load, and what it says: requests a second and the times of single requests.

One thread, TLS, HTTP/2, a bounded count. A run in which any request was not answered with 2xx ends
the whole bench: figures of refusals would flatter a gateway.
"""

import re
import shutil
import statistics
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.hop.processes import cpu_seconds, on_core, tree

PROGRAM = "h2load"
LOAD_SECONDS = 120  # of one sample; only a hang gets there
RATE = re.compile(r"finished in .*?, ([0-9.]+) req/s")
DONE = re.compile(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx")


@dataclass(frozen=True)
class Shape:
    """How many connections, and how many requests at a time on each."""

    connections: int
    streams: int

    @property
    def name(self) -> str:
        """As it stands in tables."""
        return f"{self.connections} × {self.streams}"


@dataclass(frozen=True)
class Sample:
    """One bounded load on one gateway."""

    cpu_microseconds: float  # of all of the gateway's processes, a request
    per_second: float
    p50_milliseconds: float
    p99_milliseconds: float


def missing() -> str:
    """Why there can be no load here; empty if there can."""
    return "" if shutil.which(PROGRAM) else "h2load is not here (Debian: nghttp2-client)"


def h2load(url: str, headers: list[str], shape: Shape, requests: int, log: Path) -> str:
    """One run on the last core, away from the gateways; its words."""
    log.unlink(missing_ok=True)
    asked = [word for header in headers for word in ("-H", header)]
    size = ["-n", str(requests), "-c", str(shape.connections), "-m", str(shape.streams)]
    with on_core(-1):
        done = subprocess.run(
            [PROGRAM, *size, "-t", "1", f"--log-file={log}", *asked, url],
            capture_output=True,
            text=True,
            check=False,
            timeout=LOAD_SECONDS,
        )
    if done.returncode:
        raise SystemExit(f"bench: h2load: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def statuses(words: str) -> tuple[int, ...]:
    """How many answers were 2xx, 3xx, 4xx, 5xx."""
    found = DONE.search(words)
    return tuple(map(int, found.groups())) if found else (0, 0, 0, 0)


def times(log: Path) -> list[float]:
    """Milliseconds of each request: the third column of h2load's log is in microseconds."""
    lines = log.read_text(encoding="ascii").splitlines()
    return [int(line.split("\t")[2]) / 1e3 for line in lines]


def sample(pid: int, url: str, header: str, shape: Shape, requests: int, log: Path) -> Sample:
    """Load the gateway whose first process is `pid`."""
    pids = tree(pid)
    before = cpu_seconds(pids)
    words = h2load(url, [header], shape, requests, log)
    spent = cpu_seconds(pids) - before
    rate = RATE.search(words)
    if statuses(words)[0] != requests or rate is None:
        raise SystemExit(f"bench: not every request to {url} succeeded:\n{words}")
    cuts = statistics.quantiles(times(log), n=100)
    return Sample(spent / requests * 1e6, float(rate[1]), cuts[49], cuts[98])
