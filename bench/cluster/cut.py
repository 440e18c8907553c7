"""Three gateways with calls in flight whose tool never answers: how soon a revocation ends them.

All calls are straight until then: compiled code carries them. The time is from the moment at which
the agent of the first machine has read the revocation, by the clock of this host, to the moment at
which the client has the end of a call. In one case all calls belong to the revoked branch. In the
other case each call has a branch of its own, and one branch after another is revoked.
"""

import re
import selectors
import ssl
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from bench.cluster.gateways import Times, all_serving, tokens_of
from bench.cluster.machines import arrange
from bench.hop import frames
from bench.hop.client import connect, context
from bench.hop.processes import end, start, wait_for_port
from crewgate.config import Config
from crewgate.core.ids import EntityKind
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.demo.ports import reserve
from crewgate.ipc.admin_client import AdminClient

SILENT = """
[upstream.silent]
url = "http://127.0.0.1:{port}"
connections = 1024

[tool."search.silent"]
method = "GET"
path = "/silent"
upstream = "silent"
price = "0"

[tool."search.quick"]
method = "POST"
path = "/silent"
upstream = "silent"
price = "0"
"""
ONE_OF = "a straight call ends, one of"
STREAMS = 84  # on a connection: a third of 1,000 calls have four
RECEIVE_BYTES = 65_536
END_SECONDS = 20.0  # calls that go on for longer end the run
WAIT_SECONDS = 60.0
LOOK_SECONDS = 0.2
SETTLING_SECONDS = 1.5  # a worker notes its metrics once a second
BEGUN = re.compile(r'(?m)^crewgate_straight_calls_total\{[^}]*end="ordinary"\} ([0-9.e+]+)$')
IN_FLIGHT = re.compile(r"(?m)^crewgate_calls_in_flight(?:\{[^}]*\})? ([0-9.e+]+)$")


@dataclass
class Client:
    """A connection to a gateway, and when each of its calls has ended, by their streams."""

    connection: ssl.SSLSocket
    heard: frames.Frames = field(default_factory=frames.Frames)
    ended_ns: dict[int, int] = field(default_factory=dict)
    next: int = 1

    def ask(self, block: bytes) -> None:
        """Begin a call."""
        flags = frames.END_HEADERS | frames.END_STREAM
        self.connection.sendall(frames.frame(frames.HEADERS, flags, self.next, block))
        self.next += 2

    def receive(self) -> None:
        """Read what has come."""
        with suppress(ssl.SSLWantReadError):
            while True:
                self.take(self.connection.recv(RECEIVE_BYTES))

    def take(self, data: bytes) -> None:
        """Note which calls end with these bytes."""
        if not data:
            raise SystemExit("bench: a gateway has closed a connection")
        now = time.monotonic_ns()
        for each in self.heard.feed(data):
            if each.kind in {frames.HEADERS, frames.DATA} and each.flags & frames.END_STREAM:
                self.ended_ns[each.stream] = now
            elif each.kind in {frames.RESET, frames.GOAWAY}:
                raise SystemExit(f"bench: a call that a gateway has broken off: {each}")


def measure(folder: Path, calls: int, cuts: int) -> list[Times]:
    """Measure both cases, with few and with many connections; `cuts` branches alone."""
    with serving(folder) as machines:
        return [
            apart(machines, calls, min(calls, cuts)),
            together(machines, calls, STREAMS),
            together(machines, calls, 1),
        ]


@contextmanager
def serving(folder: Path) -> Iterator[list[Config]]:
    """Run three gateways that know one another, and the tool that never answers."""
    port = reserve()
    machines = arrange(folder, more=SILENT.format(port=port))
    with ExitStack() as stack:
        command = [sys.executable, "-m", "bench.cluster.tools", str(port)]
        process = start(command, -1, log := folder / "silent.log")
        stack.callback(end, process)
        wait_for_port(process, port, log)
        stack.enter_context(all_serving(machines))
        yield machines


def together(machines: Sequence[Config], calls: int, streams: int) -> Times:
    """Revoke one branch that has all calls; return how soon each of them ends."""
    ((branch, token),) = tokens_of(machines[0], 1)
    with in_flight(machines, [token] * calls, streams) as clients:
        read_ns = revoked(machines[0], branch, clients, calls)
        ends = [when for client in clients for when in client.ended_ns.values()]
    name = f"{calls:,} straight calls of one branch end, at most {streams} on a connection"
    return Times.of(name, [(when - read_ns) / 1e6 for when in ends])


def apart(machines: Sequence[Config], calls: int, cuts: int) -> Times:
    """Revoke the branches of some calls, one after another; return how soon their calls end."""
    branches = tokens_of(machines[0], cuts)
    shown = [token for _, token in branches]
    more = tokens_of(machines[0], 1) * max(0, calls - cuts)
    with in_flight(machines, shown + [token for _, token in more], STREAMS) as clients:
        took = []
        for branch, _ in branches:
            for client in clients:
                client.ended_ns.clear()
            read_ns = revoked(machines[0], branch, clients, 1)
            (end_ns,) = (when for client in clients for when in client.ended_ns.values())
            took.append((end_ns - read_ns) / 1e6)
    return Times.of(f"{ONE_OF} {calls:,} in flight", took)


@contextmanager
def in_flight(
    machines: Sequence[Config], shown: Sequence[str], streams: int
) -> Iterator[list[Client]]:
    """Have a call with each token in flight, on all gateways in turn; check that it is straight."""
    before = sum(counted(machine, BEGUN) for machine in machines)
    with ExitStack() as stack:
        clients = [
            client
            for at, machine in enumerate(machines)
            for client in opened(machine, shown[at :: len(machines)], streams, stack)
        ]
        wait_for_calls(machines, clients, len(shown))
        yield clients
    time.sleep(SETTLING_SECONDS)
    begun = sum(counted(machine, BEGUN) for machine in machines) - before
    if begun < len(shown):
        raise SystemExit(f"bench: {begun:.0f} of {len(shown)} calls were straight")


def opened(
    machine: Config, shown: Sequence[str], streams: int, stack: ExitStack
) -> Iterator[Client]:
    """Begin a call with each token.

    A call with the same token is over by then, so that the machine knows its branch. The calls cost
    nothing, so none of them waits for credit.
    """
    port = machine.listeners[0].port
    authority = f"127.0.0.1:{port}"
    for token in dict.fromkeys(shown):
        introduce(port, frames.head("POST", authority, "/silent", token))
    for first in range(0, len(shown), streams):
        connection = connect(port, context())
        stack.callback(connection.close)
        connection.settimeout(END_SECONDS)
        connection.sendall(frames.PREFACE + frames.settings({}))
        client = Client(connection)
        for token in shown[first : first + streams]:
            client.ask(frames.head("GET", authority, "/silent", token))
        connection.settimeout(0)
        yield client


def introduce(port: int, block: bytes) -> None:
    """Send a call, and wait for its answer."""
    with connect(port, context()) as connection:
        connection.settimeout(END_SECONDS)
        connection.sendall(frames.PREFACE + frames.settings({}))
        client = Client(connection)
        client.ask(block)
        while not client.ended_ns:
            client.take(connection.recv(RECEIVE_BYTES))


def wait_for_calls(machines: Sequence[Config], clients: Sequence[Client], calls: int) -> None:
    """Wait until so many calls are in flight; the first ones of a machine wait for credit."""
    until = time.monotonic() + WAIT_SECONDS
    while (count := sum(counted(machine, IN_FLIGHT) for machine in machines)) != calls:
        for client in clients:
            client.receive()
        if time.monotonic() > until or any(client.ended_ns for client in clients):
            raise SystemExit(f"bench: {count:.0f} of {calls} calls are in flight")
        time.sleep(LOOK_SECONDS)


def revoked(machine: Config, branch: str, clients: Sequence[Client], calls: int) -> int:
    """Revoke a branch, and read until so many calls have ended; return when it was read."""
    target = RevocationTarget(EntityKind.BRANCH, branch, machine.crews[0].name)
    selector = selectors.DefaultSelector()
    for client in clients:
        selector.register(client.connection, selectors.EVENT_READ, client)
    with ThreadPoolExecutor(1) as pool, AdminClient(machine.state) as owner, selector:
        receipt = pool.submit(owner.revoke, [target], "all")
        until = time.monotonic() + END_SECONDS
        while sum(len(client.ended_ns) for client in clients) < calls:
            for key, _ in selector.select(LOOK_SECONDS):
                key.data.receive()
            if time.monotonic() > until:
                raise SystemExit("bench: a call goes on that is revoked")
        return receipt.result().read_ns


def counted(machine: Config, pattern: re.Pattern[str]) -> float:
    """Return the sum of the series of a metric on a machine."""
    if machine.admin is None:
        raise SystemExit("bench: `crewgate init` no longer writes [admin]; mend cut.py")
    url = f"http://127.0.0.1:{machine.admin.port}/metrics"
    with urllib.request.urlopen(url, timeout=END_SECONDS) as answer:
        return sum(map(float, pattern.findall(answer.read().decode())))
