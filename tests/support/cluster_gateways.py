"""Machines of one trust domain that gossip: whole gateways, or agents alone, as processes.

Each has a folder that `init` or `init --from` made, budgets of its own, and all others as peers.
"""

import json
import os
import re
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from control_world import CREW, CREWS, add_crew
from forked import Forked
from installation import Installation, Premises, wait_until
from network_namespaces import Place

from crewgate.core.ids import EntityKind, branch_key
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.errors import ServiceConnectionError
from crewgate.ipc.admin_client import AdminClient
from crewgate.ipc.admin_messages import AgentStatus, QuorumResult, RevocationReceipt, Until
from crewgate.ipc.readonly_table import open_table

SECONDS = 60.0  # of patience: only what hangs takes so long
_ALONE = 'url = "sqlite:state/ledger.db"'
_PEERS = re.compile(r"^peers = \[.*\].*$", re.MULTILINE)
M = TypeVar("M", bound=Premises)
_ANY = re.compile(r'^staleness_quorum = "any"\n', re.MULTILINE)


class View:
    """A machine's table as its processes have it; it outlives the agent."""

    def __init__(self, machine: Premises) -> None:
        self._table = open_table(machine.folder / "state")

    def has(self, branch: str, crew: str = "article") -> bool:
        """Whether a branch is revoked here."""
        return self._table.is_revoked(branch_key(crew, branch))

    def revoked_before(self, key: bytes) -> int:
        """Until when what it names was issued that is dead; 0 for nothing."""
        return self._table.revoked_before(key) or 0

    @property
    def is_synced(self) -> bool:
        """Whether calls of tools that are closed when stale are admitted."""
        return self._table.synced_until > time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def close(self) -> None:
        """Let it go."""
        self._table.close()


class Agent(Premises):
    """An agent alone, for embedders."""

    def __init__(self, folder: Path, *more: str, within: Sequence[str] = ()) -> None:
        super().__init__(folder, *more, within=within)
        self.process: Forked | subprocess.Popen[bytes] | None = None
        if not more:  # who is made from this one has it from there
            self.edit("workers = 2", "workers = 0")

    def start(self, environment: dict[str, str] | None = None, *more: str) -> None:
        """Start it, and no more."""
        self.process = self._begin(environment, "crewgate.agent", "-c", self.file, *more)

    def kill(self) -> None:
        """SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """End it at once."""
        super().end()
        if self.process is not None and self.process.poll() is None:
            self.kill()


@contextmanager
def views(machines: Sequence[Premises]) -> Iterator[list[View]]:
    """Of all of these."""
    with ExitStack() as stack:
        yield [stack.enter_context(closing(View(machine))) for machine in machines]


def new_branch() -> str:
    """One that nobody has minted for."""
    return str(uuid.uuid4())


def owner_of(machine: Premises) -> AdminClient:
    """At the agent's door; use it in a `with`."""
    return AdminClient(machine.folder / "state")


def revoke(
    machine: Premises, branch: str, until: Until = "local", crew: str = "article"
) -> RevocationReceipt:
    """End a branch, seen or not."""
    with owner_of(machine) as owner:
        return owner.revoke([RevocationTarget(EntityKind.BRANCH, branch, crew)], until)


def revoke_surely(machine: Premises, branch: str) -> None:
    """End a branch, and ask again if the agent is too busy to answer in time."""
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            revoke(machine, branch)
        except ServiceConnectionError:
            assert time.monotonic() < deadline
        else:
            return


def acknowledged(machine: Premises, branch: str, until: Until = "quorum") -> QuorumResult:
    """Ask until so many have it on disk, which takes as long as disks and networks do."""
    deadline = time.monotonic() + SECONDS
    while not (reach := revoke(machine, branch, until).reach).enough:
        assert time.monotonic() < deadline
    return reach


def status(machine: Premises) -> AgentStatus | None:
    """What the agent says; None where there is none that answers."""
    try:
        with owner_of(machine) as owner:
            return owner.status()
    except ServiceConnectionError:
        return None


def is_ready(machine: Premises) -> bool:
    """The agent says so."""
    found = status(machine)
    return found is not None and found.ready


def has_settled(machine: Premises) -> bool:
    """It is ready, and counts: until then it needs all who do, and others do not count on it."""
    found = status(machine)
    return found is not None and found.ready and bool(found.in_touch and found.in_touch.counts)


def agent_of(machine: Premises) -> int:
    """The process id of a gateway's agent, which may be about to start again."""
    found: list[int] = []

    def is_there() -> bool:
        found[:] = machine.children("agent")
        return len(found) == 1

    wait_until(is_there, SECONDS)
    return found[0]


def signal_agents(machines: Sequence[Premises], number: signal.Signals) -> None:
    """Send it to the agents of these gateways."""
    for machine in machines:
        os.kill(agent_of(machine), number)


@contextmanager
def stopped(*machines: Premises) -> Iterator[None]:
    """Their agents are, while the block runs."""
    signal_agents(machines, signal.SIGSTOP)
    try:
        yield
    finally:
        signal_agents(machines, signal.SIGCONT)


@contextmanager
def gateways(
    folder: Path,
    size: int,
    *,
    places: Sequence[Place] = (),
    more: str = "",
    tool: str = "",
    adapt: Callable[[Installation], None] = lambda _: None,
) -> Iterator[list[Installation]]:
    """Whole ones, of crews article, bd and finance.

    `more` is added to [cluster], and `tool` to the tool `embeddings.create`. `adapt` changes the
    first machine, from which the others are made.
    """

    def make(place: Path, *origin: str, within: Sequence[str]) -> Installation:
        machine = Installation(place, *origin, price="0.001", workers=1, within=within)
        if not origin:
            machine.edit("[cluster]\n", f"[cluster]\n{more}\n")
            machine.edit('path = "/v1/embeddings"\n', f'path = "/v1/embeddings"\n{tool}\n')
            for crew in CREWS:
                add_crew(machine.folder, crew)
            with machine.file.open("a") as file:
                file.writelines(CREW.format(crew=crew) for crew in CREWS)
            adapt(machine)
        return machine

    with _joined(folder, size, make, places) as machines:
        yield machines


@contextmanager
def agents(
    folder: Path, size: int, *, places: Sequence[Place] = (), more: str = ""
) -> Iterator[list[Agent]]:
    """Agents alone, of crew article; `more` is added to [cluster]."""

    def make(place: Path, *origin: str, within: Sequence[str]) -> Agent:
        machine = Agent(place, *origin, within=within)
        if not origin:
            machine.edit("[cluster]\n", f"[cluster]\n{more}\n")
        return machine

    with _joined(folder, size, make, places) as machines:
        yield machines


@contextmanager
def _joined(
    folder: Path, size: int, make: Callable[..., M], places: Sequence[Place]
) -> Iterator[list[M]]:
    """All serve, and each has compared with a majority."""
    with ExitStack() as stack:
        machines: list[M] = []
        origin: tuple[str, ...] = ()
        for number in range(size):
            place = folder / f"machine-{number}"
            place.mkdir()
            machine = make(place, *origin, within=places[number].within if places else ())
            stack.callback(machine.end)
            machine.file.write_text(_ANY.sub("", machine.file.read_text()))
            if not machines:
                machine.edit(_ALONE, f"{_ALONE}\nper_machine = true")
                origin = ("--from", str(machine.file), "--budgets", "per-machine")
            machines.append(machine)
        hosts = [place.address for place in places] or ["127.0.0.1"] * size
        where = [
            f"{host}:{machine.port + 3}" for host, machine in zip(hosts, machines, strict=True)
        ]
        for host, own, machine in zip(hosts, where, machines, strict=True):
            _introduce(machine, host, [each for each in where if each != own])
        for machine in machines:
            machine.start()
        for machine in machines:
            wait_until(partial(has_settled, machine), SECONDS)
        for machine in machines:  # whoever was there first waits for those who have just settled
            wait_until(partial(is_ready, machine), SECONDS)
        yield machines


def _introduce(machine: Premises, host: str, peers: Sequence[str]) -> None:
    text = _PEERS.sub(f"peers = {json.dumps(peers)}", machine.file.read_text(), count=1)
    before, section, after = text.partition("[cluster]")
    after = re.sub('address = ".*?"', f'address = "{host}"', after, count=1)
    machine.file.write_text(before + section + after)
