"""What a branch's first call costs beside its later ones: through a gateway, on SQLite.

One worker, one client, one kept connection. The first call of a branch opens the branch and its run
in the ledger and draws, durably, before it is let through; a later one finds its lease. Calls come
directly one after the other, or after pauses in which every process, and the machine, falls asleep.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.boundary.gateway import serving
from bench.hop.client import connect, context
from bench.hop.processes import TOOLS_ABOVE, end, start, wait_for_port
from bench.hop.upstream import BODY
from bench.sampling import WARMING_ROUNDS, Case, Group, measure
from crewgate.config import Config
from crewgate.issuer import Orchestrator

LATER, FIRST = "a later call", "a branch's first call"
PAUSED_LATER, PAUSED_FIRST = f"{LATER}, after a pause", f"{FIRST}, after a pause"
PAUSE = 0.02  # seconds
REQUEST = (
    "POST /search HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n"
    "content-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"
)
RECEIVE_BYTES = 65_536
ROUNDS_MAX = 150  # each mints a run with a child, and may take 50 ms
CALLS = 100  # until a branch is drawn for ahead of its calls

Call = Callable[[bytes], None]


def in_a_row(rounds: int) -> Group:
    """Each call directly after another one, as those of a crew at work are."""
    return _calls("A call through a gateway", rounds, FIRST, LATER, 0)


def paused(rounds: int) -> Group:
    """Each call after a pause, and one that is not measured."""
    return _calls("A call after a pause", rounds, PAUSED_FIRST, PAUSED_LATER, PAUSE)


def _calls(title: str, rounds: int, first: str, later: str, pause: float) -> Group:
    """Each first call is that of a branch of its own; all later ones are those of one branch."""
    rounds = min(rounds, ROUNDS_MAX)
    with (
        tempfile.TemporaryDirectory() as name,
        serving(Path(name)) as (config, _),
        tools(Path(name), config),
        _client(config) as call,
    ):
        steady, *others = _requests(config, rounds + WARMING_ROUNDS + 1)
        for _ in range(CALLS):
            call(steady)
        new = iter(others)

        def one(request: bytes) -> int:
            call(request)
            return 1

        def before() -> None:
            time.sleep(pause)
            call(steady)

        cases = [
            Case(first, lambda: one(next(new)), before),
            Case(later, lambda: one(steady), before),
        ]
        return measure(title, cases, rounds, {first: later})


def _requests(config: Config, number: int) -> list[bytes]:
    """One for each of so many branches, each in a run of its own, minted beforehand."""
    with Orchestrator.from_config(config.path, crew=config.crews[0].name) as crew:
        tokens = []
        for _ in range(number):
            run = crew.start_run(credits="100", tools=["search.*"])
            child = crew.spawn(role="bench", parent=run, tools=["search.*"], credits="100")
            tokens.append(child.token())
    return [REQUEST.format(token).encode() for token in tokens]


@contextmanager
def tools(folder: Path, config: Config) -> Iterator[None]:
    """The tool server of the gateway."""
    port = config.listeners[0].port + TOOLS_ABOVE
    log = folder / "tools.log"
    process = start([sys.executable, "-m", "bench.hop.upstream", str(port)], 1, log)
    try:
        wait_for_port(process, port, log)
        yield
    finally:
        end(process)


@contextmanager
def _client(config: Config) -> Iterator[Call]:
    with connect(config.listeners[0].port, context("http/1.1")) as connection:
        connection.settimeout(10)

        def call(request: bytes) -> None:
            connection.sendall(request)
            answer = connection.recv(RECEIVE_BYTES)
            if not answer.startswith(b"HTTP/1.1 200 "):
                raise SystemExit(f"bench: about to measure a refusal: {answer[-200:]!r}")
            while not answer.endswith(BODY):
                answer += connection.recv(RECEIVE_BYTES)

        yield call
