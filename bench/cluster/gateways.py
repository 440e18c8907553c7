"""Three gateways: how soon a stream through one of them ends that is revoked on another.

From the moment at which the agent of the first one has read the revocation, by its own clock, which
is the clock of this host, to the last byte that the client of the second one gets. And what the
receipt says of how long it took to be on this disk, with a majority, and with all.
"""

import math
import ssl
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.cluster.machines import arrange
from bench.hop.client import connect, context
from bench.hop.processes import TOOLS_ABOVE, end, start, wait_for_port
from bench.hop.stage import crewgate
from crewgate.config import Config
from crewgate.core.ids import EntityKind
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.ipc.admin_client import AdminClient
from crewgate.ipc.admin_messages import RevocationReceipt, Until
from crewgate.issuer import Orchestrator

STREAM = """
[tool."search.stream"]
method = "GET"
path = "/stream"
upstream = "tools"
price = "0.01"
"""
REQUEST = "GET /stream HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\r\n"
RECEIVE_BYTES = 65_536
LAST_CHUNK = b"\r\n0\r\n\r\n"
END_SECONDS = 10.0  # a stream that goes on for longer ends the run
START_SECONDS = 60.0
AGAIN_SECONDS = 0.1
CUT = "a stream through another gateway has ended"
ASKED: tuple[Until, ...] = ("local", "quorum", "all")


@dataclass(frozen=True)
class Times:
    """Milliseconds."""

    name: str
    median: float
    p99: float
    most: float

    @classmethod
    def of(cls, name: str, values: Sequence[float]) -> "Times":
        """The smallest of which at least so many are no larger."""
        ordered = sorted(values)
        p99 = ordered[math.ceil(len(ordered) * 0.99) - 1]
        return cls(name, statistics.median(ordered), p99, ordered[-1])


@dataclass(frozen=True)
class Stream:
    """A branch, and the open answer that its agent reads."""

    branch: str
    connection: ssl.SSLSocket


def measure(folder: Path, revocations: int) -> list[Times]:
    """So many streams cut, and so many receipts of each kind, one after the other."""
    with serving(folder) as machines, ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(1))
        streams = []
        for branch, token in tokens_of(machines[0], revocations):
            streams.append(Stream(branch, connection := _open(machines[1], token)))
            stack.callback(connection.close)
        owner = stack.enter_context(AdminClient(machines[0].state))
        crew = machines[0].crews[0].name
        cut = [_cut(owner, crew, stream, pool) for stream in streams]
        receipts: dict[Until, list[float]] = {until: [] for until in ASKED}
        for _ in range(revocations):
            for until, seen in receipts.items():
                seen.append(_receipt(owner, crew, until).reach.ms)
    return [
        Times.of(CUT, cut),
        *(Times.of(f"receipt: {until}", seen) for until, seen in receipts.items()),
    ]


@contextmanager
def serving(folder: Path) -> Iterator[list[Config]]:
    """Three that serve, are members to one another, and have a tool that streams."""
    machines = arrange(folder, more=STREAM)
    tools = machines[1].listeners[0].port + TOOLS_ABOVE
    with ExitStack() as stack:
        command = [sys.executable, "-m", "bench.cluster.tools", str(tools)]
        process = start(command, 0, log := folder / "tools.log")
        stack.callback(end, process)
        wait_for_port(process, tools, log)
        stack.enter_context(all_serving(machines))
        yield machines


@contextmanager
def all_serving(machines: Sequence[Config]) -> Iterator[None]:
    """Run these machines, each of which knows all others."""
    with ExitStack() as stack:
        for config in machines:
            stack.enter_context(_serving(config))
        for config in machines:
            crewgate("status", "-c", str(config.path), "--wait", str(round(START_SECONDS)))
        for config in machines:
            _wait_for_others(config, len(machines))
        yield


@contextmanager
def _serving(config: Config) -> Iterator[None]:
    command = [sys.executable, "-m", "crewgate.cli", "serve", "-c", str(config.path)]
    with config.path.with_name("serve.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield
    finally:
        end(process)


def _wait_for_others(config: Config, count: int) -> None:
    """Until a revocation here is on all of so many."""
    until, crew = time.monotonic() + START_SECONDS, config.crews[0].name
    with AdminClient(config.state) as owner:
        while (reach := _receipt(owner, crew, "all").reach).of != count or not reach.enough:
            if time.monotonic() > until:
                raise SystemExit(f"bench: gateways that do not find one another: {reach}")
            time.sleep(AGAIN_SECONDS)


def tokens_of(config: Config, count: int) -> list[tuple[str, str]]:
    """So many branches, each in a run of its own, and a token of each."""
    with Orchestrator.from_config(config.path, crew=config.crews[0].name) as crew:
        runs = [crew.start_run(credits="100", tools=["search.*"]) for _ in range(count)]
        return [(run.branch, run.token()) for run in runs]


def _open(config: Config, token: str) -> ssl.SSLSocket:
    """A stream of which something has come."""
    connection = connect(config.listeners[0].port, context("http/1.1"))
    connection.settimeout(END_SECONDS)
    connection.sendall(REQUEST.format(token).encode())
    answer = connection.recv(RECEIVE_BYTES)
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise SystemExit(f"bench: about to measure a refusal: {answer[-200:]!r}")
    return connection


def _cut(owner: AdminClient, crew: str, stream: Stream, pool: ThreadPoolExecutor) -> float:
    """Milliseconds from the agent's reading to the end that the client sees."""
    ended = pool.submit(_end, stream.connection)
    receipt = owner.revoke([RevocationTarget(EntityKind.BRANCH, stream.branch, crew)], "all")
    if not receipt.reach.enough:
        raise SystemExit(f"bench: a revocation that did not come to all: {receipt.reach}")
    return (ended.result() - receipt.read_ns) / 1e6


def _end(connection: ssl.SSLSocket) -> int:
    """When the last byte of the answer was there; ends the run if there is no end."""
    until, came = time.monotonic() + END_SECONDS, b""
    while not came.endswith(LAST_CHUNK):
        if time.monotonic() > until:
            raise SystemExit("bench: a stream goes on that is revoked")
        came = came[-len(LAST_CHUNK) :] + (data := connection.recv(RECEIVE_BYTES))
        if not data:
            break
    return time.monotonic_ns()


def _receipt(owner: AdminClient, crew: str, until: Until) -> RevocationReceipt:
    """Of a branch that nobody has."""
    target = RevocationTarget(EntityKind.BRANCH, str(uuid.uuid4()), crew)
    return owner.revoke([target], until)
