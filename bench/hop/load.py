"""Load by h2load, and what it says: requests a second and the times of single requests.

One thread, TLS, a bounded count. A load of which any request was not answered with 2xx ends its
group, without figures: those of refusals would flatter a gateway.
"""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.hop.figures import CPU, P99, RATE, START, START_P99, Sample, times
from bench.hop.processes import cpu_seconds, on_core, tree

PROGRAM = "h2load"
LOAD_SECONDS = 300  # of one sample; only a hang gets there
RATE_WORDS = re.compile(r"finished in .*?, ([0-9.]+) req/s")
DATA = re.compile(r"\((\d+)\) data")
DONE = re.compile(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx")
OPEN_STREAMS = 100  # at a fixed rate nothing waits for an answer, up to so many a connection


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
class Load:
    """What is sent. `rate`: requests a second over all connections; 0 is as many as come back.

    `answer_bytes`: the length of a right body, where a wrong one may have status 200 too; 0 is any.
    The bytes of all bodies may differ from that by the share `spared`. `script`: a file with the
    time and the URL of each request of a connection; see `h2load --timing-script-file`.
    `different`: so many queries, in turn.
    """

    shape: Shape
    path: str
    fields: tuple[str, ...] = ()
    http1: bool = False
    body: Path | None = None
    rate: int = 0
    answer_bytes: int = 0
    spared: float = 0.0
    script: Path | None = None
    different: int = 1

    def urls(self, port: int) -> list[str]:
        """What is asked for, in turn."""
        url = f"https://127.0.0.1:{port}{self.path}"
        return [f"{url}?n={n}" for n in range(self.different)] if self.different > 1 else [url]

    def options(self, requests: int) -> list[str]:
        """Of the command line."""
        shape = self.shape
        streams = OPEN_STREAMS if self.rate and not self.http1 else shape.streams
        words = [f"--timing-script-file={self.script}"] if self.script else ["-n", str(requests)]
        words += ["-c", str(shape.connections), "-m", str(streams), "-t", "1"]
        words += ["--h1"] if self.http1 else []
        words += ["-d", str(self.body)] if self.body else []
        words += [f"--rps={self.rate / shape.connections:g}"] if self.rate else []
        return words + [word for each in self.fields for word in ("-H", each)]


def missing() -> str:
    """Why there can be no load here; empty if there can."""
    return "" if shutil.which(PROGRAM) else "h2load is not here (Debian: nghttp2-client)"


def h2load(port: int, load: Load, requests: int, log: Path) -> str:
    """One run on the last core, away from the gateways; its words."""
    log.unlink(missing_ok=True)
    done = ran([PROGRAM, *load.options(requests), f"--log-file={log}", *load.urls(port)])
    if done.returncode:
        raise SystemExit(f"bench: h2load: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def ran(command: list[str], told: str | None = None) -> subprocess.CompletedProcess[str]:
    """A client that has ended, on the last core; `told` is its standard input."""
    try:
        with on_core(-1):
            return subprocess.run(
                command,
                input=told,
                capture_output=True,
                text=True,
                check=False,
                timeout=LOAD_SECONDS,
            )
    except subprocess.TimeoutExpired as error:
        raise SystemExit(f"bench: a load took more than {LOAD_SECONDS} s") from error


def statuses(words: str) -> tuple[int, ...]:
    """How many answers were 2xx, 3xx, 4xx, 5xx."""
    found = DONE.search(words)
    return tuple(map(int, found.groups())) if found else (0, 0, 0, 0)


@dataclass(frozen=True, order=True)
class Request:
    """One request of h2load's log: when it began, and how long its answer took."""

    began: float  # in milliseconds
    milliseconds: float


def logged(text: str) -> list[Request]:
    """The requests in the order in which they began: columns 1 and 3 of the log, microseconds."""
    rows = (line.split("\t") for line in text.splitlines())
    return sorted(Request(int(row[0]) / 1e3, int(row[2]) / 1e3) for row in rows)


def start(requests: list[Request]) -> Sample:
    """The 99th percentile of the first requests, and the time until all of them are answered."""
    last = max(request.began + request.milliseconds for request in requests)
    p99 = times([request.milliseconds for request in requests])[P99.name]
    return {START_P99.name: p99, START.name: last - requests[0].began}


def result(words: str, log: str, requests: int, shape: Shape) -> Sample | None:
    """Rate and times; None unless every request was answered with 2xx.

    The first request of each stream is the start. The percentiles are those of the later ones; of
    all, if there are no later ones.
    """
    rate = RATE_WORDS.search(words)
    if rate is None or statuses(words)[0] != requests:
        return None
    found, first = logged(log), shape.connections * shape.streams
    steady = [request.milliseconds for request in found[first:] or found]
    return {RATE.name: float(rate[1]), **times(steady), **start(found[:first])}


def whole(words: str, load: Load, requests: int) -> bool:
    """Whether the bodies have the length that they should have."""
    if not load.answer_bytes:
        return True
    found, wanted = DATA.search(words), load.answer_bytes * requests
    return found is not None and abs(int(found[1]) - wanted) <= load.spared * wanted


def sample(pid: int, port: int, load: Load, requests: int, log: Path) -> Sample:
    """Load the gateway whose first process is `pid`."""
    pids = tree(pid)
    before = cpu_seconds(pids)
    words = h2load(port, load, requests, log)
    spent = cpu_seconds(pids) - before
    text = log.read_text(encoding="ascii") if log.exists() else ""
    found = result(words, text, requests, load.shape)
    if found is None or not whole(words, load, requests):
        raise SystemExit(f"bench: not every request for {load.path} was answered so:\n{words}")
    return {CPU.name: spent / requests * 1e6, **found}


def bearer(token: str) -> tuple[str, ...]:
    """The fields of a request with a token."""
    return (f"authorization: Bearer {token}",)


def at_least(requests: int, shape: Shape) -> int:
    """Never fewer requests than there are streams."""
    return max(requests, shape.connections * shape.streams, 10)
