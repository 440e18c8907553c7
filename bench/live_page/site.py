"""Three agents that share no ledger, each of which has seen all branches; and calls of some."""

import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.cluster.machines import arrange
from bench.hop.processes import end
from crewgate import Permit, Verifier
from crewgate.config import Config
from crewgate.errors import CrewgateError
from crewgate.ipc.admin_client import AdminClient
from crewgate.issuer import Orchestrator

RUN_BRANCHES = 20  # a run, and so many below it
TURN = 0.1  # seconds, in each of which a tenth of the calls of a second is made
PATIENCE = 60.0
AGAIN = 0.05
OPENED_AT_ONCE = 64
LINK = re.compile(rb"(http://\S+)/#/code/(\S+)\n")


class Site:
    """The agents, the page of the first one, and tokens of all branches."""

    def __init__(
        self, machines: Sequence[Config], agents: Sequence[int], tokens: Sequence[str]
    ) -> None:
        self.machines, self.agents, self._tokens = machines, agents, tokens
        self._verifiers = [Verifier.from_config(config.path) for config in machines]
        self._tool = machines[0].tools[0].name
        self._random = random.Random(7)

    def open_all(self) -> None:
        """Have each branch call once at each machine."""
        for verifier in self._verifiers:
            with ThreadPoolExecutor(OPENED_AT_ONCE) as pool:
                list(pool.map(lambda token: self._open(verifier, token), self._tokens))  # noqa: B023

    def _open(self, verifier: Verifier, token: str) -> None:
        until = time.monotonic() + PATIENCE
        while not isinstance(verifier.decide(token, self._tool), Permit):
            if time.monotonic() > until:
                raise SystemExit("bench: an agent opens no branch")
            time.sleep(AGAIN)

    def call(self, per_second: int, seconds: float) -> None:
        """Make so many calls a second at each machine, of random branches."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            begun = time.monotonic()
            for verifier in self._verifiers:
                for token in self._random.choices(self._tokens, k=round(per_second * TURN)):
                    verifier.decide(token, self._tool)
            time.sleep(max(0.0, TURN - (time.monotonic() - begun)))

    def close(self) -> None:
        """Detach."""
        for verifier in self._verifiers:
            verifier.close()


@contextmanager
def serving(folder: Path, branches: int) -> Iterator[Site]:
    """Agents of three machines, and so many branches that are live at each."""
    machines = arrange(folder)
    with ExitStack() as stack:
        agents = []
        for config in machines:
            text = config.path.read_text(encoding="utf-8").replace("workers = 1", "workers = 0")
            config.path.write_text(text, encoding="utf-8")
            command = [sys.executable, "-m", "crewgate.agent", "-c", str(config.path)]
            log = stack.enter_context(config.path.with_name("agent.log").open("wb"))
            process = subprocess.Popen(command, stdout=log, stderr=log)
            stack.callback(end, process)
            agents.append(process.pid)
        for config in machines:
            _wait_until_ready(config)
        site = Site(machines, agents, _tokens(machines[0], branches))
        stack.callback(site.close)
        site.open_all()
        yield site


@contextmanager
def page(config: Config) -> Iterator[tuple[int, str, str]]:
    """`crewgate ui` at a machine: its process, its URL and the code of a link."""
    command = [sys.executable, "-m", "crewgate.cli", "ui", "-c", str(config.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        if process.stdout is None:
            raise SystemExit("bench: `crewgate ui` has no output")
        process.stdout.readline()
        found = LINK.fullmatch(process.stdout.readline())
        try:
            if found is None:
                raise SystemExit("bench: `crewgate ui` prints no link")
            yield process.pid, found[1].decode(), found[2].decode()
        finally:
            end(process)


def _tokens(config: Config, branches: int) -> list[str]:
    tokens = []
    with Orchestrator.from_config(config.path, crew=config.crews[0].name) as crew:
        for number in range(branches):
            if number % RUN_BRANCHES == 0:
                run = crew.start_run(credits="1000", tools=["search.*"])
            child = crew.spawn(role="writer", parent=run, tools=["search.*"], credits="10")
            tokens.append(child.token())
    return tokens


def _wait_until_ready(config: Config) -> None:
    until = time.monotonic() + PATIENCE
    while not _is_ready(config):
        if time.monotonic() > until:
            raise SystemExit("bench: an agent does not become ready")
        time.sleep(AGAIN)


def _is_ready(config: Config) -> bool:
    try:
        with AdminClient(config.state) as agent:
            return agent.status().ready
    except CrewgateError:
        return False
