"""`make isolation`: tools that break the rules of HTTP, beside callers whose answers are checked.

`python isolation.py [--calls 60] [--callers 100]`. A gateway runs in one process with its tools'
servers and clients, over real sockets. Some clients ask for what the servers get wrong, in each of
the ways that `sloppy_http1` and `malformed_http2` know. The others, one branch each, ask for an
echo of their own, from the same servers over the same few connections. Ends with status 1 if one of
the others got another's answer or was refused, or if a client waited for longer than a second, not
counting the time for which a busy machine did not run the process.

Where a tool breaks the rules of a whole HTTP/2 connection, others' calls that are under way there
end with it. The gateway makes a GET again. A POST may have had its effect, so it may get 502, and
nothing worse.
"""

import argparse
import itertools
import random
import socket
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import NamedTuple

import hostile_http2
import msgspec
import sloppy_http1
import trio
import unread_http1
from gateway_world import FakeJudge, FakeSink, config_of, grant_of
from isolation_client import Ask, Client
from malformed_http2 import CONNECTION, STREAM
from scripted_server import Script, scripted
from tls_listener import Edge, running_edge, write_certificate
from unread_http1 import Unread

from crewgate import limits
from crewgate._datapath.connection_pool import PoolCallbacks
from crewgate._datapath.in_flight import InFlightCalls
from crewgate._datapath.socket_poller import SocketPoller
from crewgate.config import ToolConfig
from crewgate.gateway.call.background_tasks import BackgroundTasks
from crewgate.gateway.call.call_services import CallServices
from crewgate.gateway.call.gateway import Gateway
from crewgate.gateway.call.undecided_call import ListenerPolicy
from crewgate.gateway.routes import build
from crewgate.upstream.balancer import Host
from crewgate.upstream.connector import Connector
from crewgate.upstream.interfaces import UpstreamConnection
from crewgate.upstream.pool import UpstreamPool
from crewgate.upstream.resolver import Resolver

WAIT_SECONDS = 1.0
THINK_SECONDS = 0.2  # of a checked caller, between two calls: the clients share the gateway's core
LOOK_SECONDS = 0.02  # between two looks at the processor's time
LOOSE_CALLERS = 8  # that ask for what is wrong, at once


class Findings(msgspec.Struct):
    """What the checked callers met; `seconds` that each of their calls took.

    `ended` are POSTs that got 502 where the tool broke their connection. `slowest` is how long a
    call of the others took at most. `late` are all calls, from when to when, that took too long;
    `idle` says when the process wanted to run and was not let, and for how long.
    """

    name: str
    asked: int = 0  # of what is wrong
    wrong: list[str] = []
    refused: list[str] = []
    ended: int = 0
    seconds: list[float] = []
    slowest: float = 0.0
    late: list[tuple[float, float]] = []
    idle: list[tuple[float, float]] = []

    def __str__(self) -> str:
        seconds = sorted(self.seconds) or [0.0]
        return (
            f"{self.name:34} {self.asked:6} {len(seconds):8} {len(self.wrong):6} "
            f"{len(self.refused):8} {self.ended:6} {1000 * statistics.median(seconds):7.1f} "
            f"{1000 * seconds[int(len(seconds) * 0.99)]:7.1f} {1000 * seconds[-1]:7.1f} "
            f"{1000 * self.slowest:7.1f} "
            f"{1000 * sum(seconds for _, seconds in self.idle):7.0f}"
        )

    @property
    def is_good(self) -> bool:
        """Whether all had their own answers, in time."""
        return not (self.wrong or self.refused or [*self.waits()])

    def took(self, began: float) -> float:
        """Note a call that has ended now; how long it took."""
        now = trio.current_time()
        if now - began >= WAIT_SECONDS:
            self.late.append((began, now))
        return now - began

    def waits(self) -> Iterator[str]:
        """Of the calls that took too long those for which the machine is not to blame."""
        for began, ended in self.late:
            idle = sum(seconds for at, seconds in self.idle if began <= at <= ended + LOOK_SECONDS)
            if ended - began - idle >= WAIT_SECONDS:
                yield f"a call took {ended - began:.2f} s, of which the machine was busy {idle:.2f}"


HEADING = (
    f"{'':34} {'wrong':>6} {'checked':>8} {'not':>6} {'':>8} {'POSTs':>6} {'median':>7} "
    f"{'99 %':>7} {'max':>7} {'others':>7} {'idle':>7}\n"
    f"{'':34} {'calls':>6} {'calls':>8} {'own':>6} {'refused':>8} {'502':>6} {'ms':>7} "
    f"{'ms':>7} {'ms':>7} {'max ms':>7} {'ms':>7}"
)


class Tight(Connector):
    """Makes connections for which the kernel has little room."""

    def connection(
        self, sock: socket.socket, host: Host, pool: PoolCallbacks
    ) -> UpstreamConnection:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, unread_http1.ROOM_BYTES)
        return super().connection(sock, host, pool)


@asynccontextmanager
async def serving(phase: "Phase", callers: int) -> AsyncIterator[Edge]:
    """A gateway before one tool server, and branches `caller-N` and `loose-N` that may call."""
    settings = phase.settings
    with tempfile.TemporaryDirectory(prefix="crewgate-isolation-") as name:
        folder = Path(name)
        script, context = phase.tool(folder)
        room = None if context is None else unread_http1.ROOM_BYTES
        async with scripted(script, room=room) as origin:
            scheme = "http" if context is None else "https"
            config = config_of(msgspec.structs.replace(origin, scheme=scheme), folder)
            poller, resolver = SocketPoller(), Resolver()
            upstream = msgspec.structs.replace(config.upstreams[0], **settings)
            tools = tuple(
                ToolConfig(method, method, "/*", "tools", 10_000) for method in ("GET", "POST")
            )
            config = msgspec.structs.replace(config, upstreams=(upstream,), tools=tools)
            opener = (Connector if context is None else Tight)(upstream, poller, context)
            pool = UpstreamPool(upstream, opener, resolver)
            judge, live = FakeJudge(), InFlightCalls(int(limits.reservation_seconds_max * 1e9))
            tokens = [f"caller-{number}" for number in range(callers)]
            tokens += [f"loose-{number}" for number in range(LOOSE_CALLERS)]
            for number, token in enumerate(tokens):
                branch = f"0199c1d2-0000-7000-8000-{number + 256:012x}"
                judge.grants[token.encode()] = grant_of(branch)
            errands = BackgroundTasks(limits.credit_wait_seconds, lambda *_: None)
            site = build(config, {"tools": pool})
            services = CallServices(judge, live, FakeSink(), poller, errands)  # type: ignore[arg-type]
            gateway = Gateway(ListenerPolicy("all"), site, services)
            async with (
                running_edge(gateway.accept, folder, poller) as edge,
                trio.open_nursery() as own,
            ):
                own.start_soon(resolver.run)
                own.start_soon(pool.run)
                own.start_soon(_sweep, pool)
                yield edge
                own.cancel_scope.cancel()


async def _sweep(pool: UpstreamPool) -> None:
    while True:
        await trio.sleep(1)
        pool.sweep(time.monotonic())


def _queued_seconds() -> float:
    """For how long this thread has waited for a processor; 0 where the kernel does not count it."""
    with suppress(OSError):
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    return 0.0


class Run:
    """One gateway, and all who call there."""

    def __init__(self, phase: "Phase", edge: Edge, asks: Iterator[Ask]) -> None:
        self.findings = Findings(phase.name)
        self._phase = phase
        self._edge = edge
        self._context = edge.client_context()
        self._asks = asks
        self._is_over = False

    async def run(self, callers: int) -> Findings:
        """Have all call, until nothing wrong is left to be asked for."""
        checked = [self._client(f"caller-{number}") for number in range(callers)]
        loose = [self._client(f"loose-{number}") for number in range(self._phase.loose)]
        for client in [*checked, *loose]:
            await client.ask(Ask("GET", "/hello"))  # TLS is not what is measured
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._notice_idleness)
            for number, client in enumerate(checked):
                nursery.start_soon(self._check, number, client)
            async with trio.open_nursery() as asking:
                for client in loose:
                    asking.start_soon(self._ask_for_wrong, client)
            self._is_over = True
        return self.findings

    async def _notice_idleness(self) -> None:
        """Compare the time that passes with the time that the processor gave us."""
        while not self._is_over:
            began, worked, queued = time.monotonic(), time.process_time(), _queued_seconds()
            await trio.sleep(LOOK_SECONDS)
            passed, worked = time.monotonic() - began, time.process_time() - worked
            idle = max(passed - worked - LOOK_SECONDS, _queued_seconds() - queued)
            if idle > 0:
                self.findings.idle.append((trio.current_time(), idle))

    def _client(self, token: str) -> Client:
        return Client(self._edge, self._context, token)

    async def _ask_for_wrong(self, client: Client) -> None:
        for first in self._asks:
            ask: Ask | None = first
            while ask is not None:
                await client.connect()
                began = trio.current_time()
                await client.ask(ask)
                self.findings.asked += 1
                self.findings.slowest = max(self.findings.slowest, self.findings.took(began))
                ask = ask.then
            await trio.sleep(self._phase.pause_seconds)
        await client.close()

    async def _check(self, number: int, client: Client) -> None:
        found = self.findings
        posts = self._phase.posts and number % 2 == 1
        method, size = ("POST", 1) if posts else ("GET", 0)
        await trio.sleep(THINK_SECONDS * random.random())
        for call in itertools.count():
            target = f"/{number}/{call}"
            began = trio.current_time()
            status, body = await client.ask(Ask(method, target, body=size))
            found.seconds.append(found.took(began))
            if posts and status == 502:
                found.ended += 1
            elif status != 200:
                found.refused.append(f"{target}: {status} {body[:200]!r}")
            elif body != target.encode():
                found.wrong.append(f"{target}: {body[:200]!r}")
            if self._is_over:
                break
            await trio.sleep(THINK_SECONDS)
        await client.close()


def sloppy(calls: int, *, late: bool) -> Iterator[Ask]:
    """Every way of `sloppy_http1`, so often; `late`: also what no gateway can tell apart."""
    for call in range(calls):
        for number, way in enumerate(sloppy_http1.WAYS):
            when = call % len(sloppy_http1.WHEN)
            if way.is_wrong_about_its_length and not late:
                when = 0
            yield Ask(way.method, f"/sloppy/{number}/{when}")


def hostile(calls: int, kinds: Sequence[int]) -> Iterator[Ask]:
    """These kinds of `hostile_http2`, so often."""
    return (Ask("GET", f"/hostile/{kind}") for _ in range(calls) for kind in kinds)


def unread(calls: int) -> Iterator[Ask]:
    """Requests that are left unread, each before one that its client gives up.

    Some of them fill the kernel, so that nothing of the next one is sent, and all of it waits.
    """
    for _ in range(calls):
        for kib in range(0, 64, 2):
            left = Ask("GET", "/left", head=12 * 1024, leaves=True)
            yield Ask("POST", f"/half/{kib}", body=kib * 1024 or 1, then=left)
        yield Ask("GET", "/deaf/", then=Ask("GET", "/left", leaves=True))
        yield Ask("GET", "/deaf/", then=Ask("POST", "/left", body=256 * 1024, leaves=True))


Premises = Callable[[Path], tuple[Script, ssl.SSLContext | None]]


def _plain(script: Script) -> Premises:
    return lambda _: (script, None)


def _tight(folder: Path) -> tuple[Script, ssl.SSLContext]:
    """A tool under TLS that leaves requests unread, and what it is verified with."""
    folder = folder / "tool"
    folder.mkdir()
    certificate, key = write_certificate(folder)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    return Unread(server).serve, ssl.create_default_context(cafile=str(certificate))


class Phase(NamedTuple):
    """A tool's server, how it is called, what it is asked for, and by how many at once."""

    name: str
    tool: Premises
    asks: Callable[[int], Iterator[Ask]]
    settings: dict[str, object]
    loose: int = LOOSE_CALLERS
    pause_seconds: float = 0.0  # of those, between two calls
    posts: bool = False  # every second checked caller makes no GETs but POSTs


_OF_STREAMS = range(len(STREAM))
_OF_CONNECTIONS = range(len(STREAM), len(STREAM) + len(CONNECTION))
PHASES = (
    Phase(
        "HTTP/1.1, four shared connections",
        _plain(sloppy_http1.serve),
        lambda calls: sloppy(calls, late=False),
        {"connections": 4},
    ),
    Phase(
        "HTTP/1.1, each branch its own",
        _plain(sloppy_http1.serve),
        lambda calls: sloppy(calls, late=True),
        {"reuse": "branch"},
    ),
    Phase("HTTP/1.1, requests left unread", _tight, unread, {"connections": 4}, loose=1),
    Phase(
        "HTTP/2, four shared connections",
        _plain(hostile_http2.serve),
        lambda calls: hostile(calls, _OF_STREAMS),
        {"protocol": "h2", "connections": 4},
    ),
    Phase(
        "HTTP/2, shared ones that break",
        _plain(hostile_http2.serve_late),
        lambda calls: hostile(4 * calls, _OF_CONNECTIONS),
        # What is seen is who suffers from what, and not for how many retries a budget has room.
        {"protocol": "h2", "retry_share": 1.0},
        loose=2,
        pause_seconds=0.02,
        posts=True,
    ),
    Phase(
        "HTTP/2, each branch its own",
        _plain(hostile_http2.serve),
        lambda calls: hostile(calls, [*_OF_STREAMS, *_OF_CONNECTIONS]),
        {"protocol": "h2", "reuse": "branch"},
    ),
)


async def run(phase: Phase, calls: int, callers: int) -> Findings:
    """One phase, each way `calls` times, beside so many checked callers."""
    async with serving(phase, callers) as edge:
        with closing(phase.asks(calls)) as asks:  # type: ignore[type-var]
            return await Run(phase, edge, asks).run(callers)


def main() -> None:
    """All phases; what they found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=60, help="of each way")
    parser.add_argument("--callers", type=int, default=100, help="whose answers are checked")
    given = parser.parse_args()
    print(HEADING)
    good = True
    for phase in PHASES:
        found = trio.run(run, phase, given.calls, given.callers)
        print(found, flush=True)
        for text in [*found.wrong[:5], *found.refused[:5], *[*found.waits()][:5]]:
            print(f"    {text}")
        good = good and found.is_good
    sys.exit(not good)


if __name__ == "__main__":
    main()
