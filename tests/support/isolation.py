"""`make isolation`: tools that break the rules of HTTP, beside callers whose answers are checked.

`python isolation.py [--calls 60] [--callers 100]`. A gateway runs in one process with its tools'
servers and clients, over real sockets. Some clients ask for what the servers get wrong, in each of
the ways that `sloppy_http1` and `malformed_http2` know. The others, one branch each, ask for an
echo of their own, from the same servers over the same few connections. Ends with status 1 if one of
the others got another's answer or was refused, or if a client waited for longer than a second, not
counting the time for which a busy machine did not run the process.
"""

import argparse
import itertools
import random
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import NamedTuple

import h11
import hostile_http2
import msgspec
import sloppy_http1
import trio
from edge import Edge, running_edge
from gateway_world import FakeJudge, FakeSink, config_of, grant_of
from malformed_http2 import CONNECTION, STREAM
from scripted import Script, scripted

from crewgate import limits
from crewgate.config import Tool
from crewgate.gateway.case import Door
from crewgate.gateway.errands import Errands
from crewgate.gateway.forward import Gateway
from crewgate.gateway.live import Live
from crewgate.gateway.site import build
from crewgate.server import Poller
from crewgate.upstream import Opener, Pool, Resolver

WAIT_SECONDS = 1.0
THINK_SECONDS = 0.2  # of a checked caller, between two calls: the clients share the gateway's core
LOOSE_CALLERS = 8  # that ask for what is wrong, at once
BROKEN = 0  # for a status: the answer was cut


class Ask(NamedTuple):
    """A request."""

    method: str
    target: str


class Findings(msgspec.Struct):
    """What the checked callers met; `seconds` that each of their calls took.

    `slowest` is how long a call of the others took at most, `idle` for how long at most the process
    wanted to run and was not let.
    """

    name: str
    asked: int = 0  # of what is wrong
    wrong: list[str] = []
    refused: list[str] = []
    seconds: list[float] = []
    slowest: float = 0.0
    idle: float = 0.0

    def __str__(self) -> str:
        seconds = sorted(self.seconds) or [0.0]
        return (
            f"{self.name:34} {self.asked:6} {len(seconds):8} {len(self.wrong):6} "
            f"{len(self.refused):8} {1000 * statistics.median(seconds):7.1f} "
            f"{1000 * seconds[int(len(seconds) * 0.99)]:7.1f} {1000 * seconds[-1]:7.1f} "
            f"{1000 * self.slowest:7.1f} {1000 * self.idle:7.1f}"
        )

    @property
    def is_good(self) -> bool:
        """Whether all had their own answers, in time."""
        waited = max([self.slowest, *self.seconds])
        return not (self.wrong or self.refused) and waited < WAIT_SECONDS + self.idle


HEADING = (
    f"{'':34} {'wrong':>6} {'checked':>8} {'not':>6} {'':>8} {'median':>7} {'99 %':>7} {'max':>7} "
    f"{'others':>7} {'idle':>7}\n"
    f"{'':34} {'calls':>6} {'calls':>8} {'own':>6} {'refused':>8} {'ms':>7} {'ms':>7} {'ms':>7} "
    f"{'max ms':>7} {'ms':>7}"
)


class Client:
    """One connection after the other to a gateway; one call at a time."""

    def __init__(self, edge: Edge, context: ssl.SSLContext, token: str) -> None:
        self._edge = edge
        self._context = context
        self._token = token
        self._stream: trio.SSLStream[trio.SocketStream] | None = None
        self._wire = h11.Connection(h11.CLIENT)

    async def connect(self) -> trio.SSLStream[trio.SocketStream]:
        """Have a connection for the next call."""
        return self._stream or await self._open()

    async def ask(self, ask: Ask) -> tuple[int, bytes]:
        """Status and body of an answer; BROKEN if it was cut."""
        stream = await self.connect()
        wire = self._wire
        fields = [("Host", "a"), ("Authorization", f"Bearer {self._token}")]
        request = h11.Request(method=ask.method, target=ask.target, headers=fields)
        status, body = BROKEN, b""
        try:
            await stream.send_all(
                (wire.send(request) or b"") + (wire.send(h11.EndOfMessage()) or b"")
            )
            while True:
                event = wire.next_event()
                if event is h11.NEED_DATA:
                    wire.receive_data(await stream.receive_some())
                elif isinstance(event, h11.Response):
                    status = event.status_code
                elif isinstance(event, h11.Data):
                    body += event.data
                elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
                    break
        except (h11.RemoteProtocolError, trio.BrokenResourceError):
            status = BROKEN
        if wire.our_state is h11.DONE and wire.their_state is h11.DONE:
            wire.start_next_cycle()
        else:
            await self.close()
        return status, body

    async def close(self) -> None:
        """Close the connection."""
        stream, self._stream = self._stream, None
        if stream is not None:
            await trio.aclose_forcefully(stream)

    async def _open(self) -> trio.SSLStream[trio.SocketStream]:
        edge = self._edge
        stream = await trio.open_tcp_stream(edge.host, edge.port)
        self._stream = trio.SSLStream(
            stream, self._context, server_hostname=edge.host, https_compatible=True
        )
        await self._stream.do_handshake()
        self._wire = h11.Connection(h11.CLIENT)
        return self._stream


@asynccontextmanager
async def serving(script: Script, callers: int, **settings: object) -> AsyncIterator[Edge]:
    """A gateway before one tool server, and branches `caller-N` and `loose-N` that may call."""
    with tempfile.TemporaryDirectory(prefix="crewgate-isolation-") as name:
        folder = Path(name)
        async with scripted(script) as origin:
            config, poller, resolver = config_of(origin, folder), Poller(), Resolver()
            upstream = msgspec.structs.replace(config.upstreams[0], **settings)
            tool = Tool("any", "GET", "/*", "tools", 10_000)
            config = msgspec.structs.replace(config, upstreams=(upstream,), tools=(tool,))
            pool = Pool(upstream, Opener(upstream, poller, None), resolver, print)
            judge, live = FakeJudge(), Live(int(limits.reservation_seconds_max * 1e9))
            tokens = [f"caller-{number}" for number in range(callers)]
            tokens += [f"loose-{number}" for number in range(LOOSE_CALLERS)]
            for number, token in enumerate(tokens):
                branch = f"0199c1d2-0000-7000-8000-{number + 256:012x}"
                judge.grants[token.encode()] = grant_of(branch)
            errands = Errands(limits.credit_wait_seconds, lambda *_: None, print)
            site = build(config, {"tools": pool})
            gateway = Gateway(Door("all"), site, judge, live, FakeSink(), poller, errands)  # type: ignore[arg-type]
            async with (
                running_edge(gateway.accept, folder, poller) as edge,
                trio.open_nursery() as own,
            ):
                own.start_soon(resolver.run)
                own.start_soon(pool.run)
                own.start_soon(_sweep, pool)
                yield edge
                own.cancel_scope.cancel()


async def _sweep(pool: Pool) -> None:
    while True:
        await trio.sleep(1)
        pool.sweep(time.monotonic())


class Run:
    """One gateway, and all who call there."""

    def __init__(self, name: str, edge: Edge, asks: Iterator[Ask]) -> None:
        self.findings = Findings(name)
        self._edge = edge
        self._context = edge.client_context()
        self._asks = asks
        self._is_over = False

    async def run(self, callers: int) -> Findings:
        """Have all call, until nothing wrong is left to be asked for."""
        checked = [self._client(f"caller-{number}") for number in range(callers)]
        loose = [self._client(f"loose-{number}") for number in range(LOOSE_CALLERS)]
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
            began, worked = time.monotonic(), time.process_time()
            await trio.sleep(THINK_SECONDS)
            passed, worked = time.monotonic() - began, time.process_time() - worked
            self.findings.idle = max(self.findings.idle, passed - worked - THINK_SECONDS)

    def _client(self, token: str) -> Client:
        return Client(self._edge, self._context, token)

    async def _ask_for_wrong(self, client: Client) -> None:
        for ask in self._asks:
            await client.connect()
            began = trio.current_time()
            await client.ask(ask)
            self.findings.asked += 1
            self.findings.slowest = max(self.findings.slowest, trio.current_time() - began)
        await client.close()

    async def _check(self, number: int, client: Client) -> None:
        found = self.findings
        await trio.sleep(THINK_SECONDS * random.random())
        for call in itertools.count():
            target = f"/{number}/{call}"
            began = trio.current_time()
            status, body = await client.ask(Ask("GET", target))
            found.seconds.append(trio.current_time() - began)
            if status != 200:
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


class Phase(NamedTuple):
    """A server, how it is called, and what it is asked for."""

    name: str
    script: Script
    asks: Callable[[int], Iterator[Ask]]
    settings: dict[str, object]


_OF_STREAMS = range(len(STREAM))
_OF_CONNECTIONS = range(len(STREAM), len(STREAM) + len(CONNECTION))
PHASES = (
    Phase(
        "HTTP/1.1, four shared connections",
        sloppy_http1.serve,
        lambda calls: sloppy(calls, late=False),
        {"connections": 4},
    ),
    Phase(
        "HTTP/1.1, each branch its own",
        sloppy_http1.serve,
        lambda calls: sloppy(calls, late=True),
        {"reuse": "branch"},
    ),
    Phase(
        "HTTP/2, four shared connections",
        hostile_http2.serve,
        lambda calls: hostile(calls, _OF_STREAMS),
        {"protocol": "h2", "connections": 4},
    ),
    Phase(
        "HTTP/2, each branch its own",
        hostile_http2.serve,
        lambda calls: hostile(calls, [*_OF_STREAMS, *_OF_CONNECTIONS]),
        {"protocol": "h2", "reuse": "branch"},
    ),
)


async def run(phase: Phase, calls: int, callers: int) -> Findings:
    """One phase, each way `calls` times, beside so many checked callers."""
    async with serving(phase.script, callers, **phase.settings) as edge:
        with closing(phase.asks(calls)) as asks:  # type: ignore[type-var]
            return await Run(phase.name, edge, asks).run(callers)


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
        for text in [*found.wrong[:5], *found.refused[:5]]:
            print(f"    {text}")
        good = good and found.is_good
    sys.exit(not good)


if __name__ == "__main__":
    main()
