"""The first requests after a rest: on new connections, and on connections that stayed open.

In a third case, the tool server has closed its connections, so the gateway opens them again.

A gateway that gives credit back or closes connections while it rests has to get them again, and
these requests wait. All of them are sent at once. Nothing else runs during the rest.
"""

import socket
import time
from functools import partial
from pathlib import Path

from bench.hop.arena import Arena
from bench.hop.figures import P50, P99, START, Case, Measured, Sample, interleaved, times
from bench.hop.gateways import ENVOY, Gateway
from bench.hop.groups.beside_envoy import P99_MAX, over
from bench.hop.groups.group import Group, Results
from bench.hop.load import Load, Shape, bearer, h2load, logged, result, start, statuses
from bench.hop.tools import PAGE
from bench.hop.upstream import CLOSE
from bench.report import Goal

SHAPE = Shape(16, 8)
REQUESTS = SHAPE.connections * SHAPE.streams
NEW, KEPT = (f"first {REQUESTS}, {kind} connections" for kind in ("new", "open"))
CLOSED = f"{NEW}, server closed its own"
CLOSE_SECONDS = 10  # only a hang gets there


def new_connections(arena: Arena, gateway: Gateway, requests: int) -> Sample:
    """Return the times of the first requests; the client connects after the rest."""
    del requests  # a start has as many as there are streams
    load = Load(SHAPE, PAGE.path, bearer(arena.tokens.tool))
    warm(arena, gateway, load)
    return after_rest(arena, gateway, load)


def after_rest(arena: Arena, gateway: Gateway, load: Load) -> Sample:
    """Rest, connect, and return the times of the requests."""
    time.sleep(arena.rest_seconds)
    words = h2load(gateway.port, load, REQUESTS, arena.log)
    return checked(gateway, result(words, arena.log.read_text("ascii"), REQUESTS, SHAPE), words)


def closed_connections(arena: Arena, gateway: Gateway, requests: int) -> Sample:
    """Return the times of the same on new connections; the gateway has none to the tool server."""
    del requests
    load = Load(SHAPE, PAGE.path, bearer(arena.tokens.tool))
    warm(arena, gateway, load)
    with socket.create_connection(("127.0.0.1", arena.servers.tools), CLOSE_SECONDS) as sock:
        sock.sendall(b"GET %b HTTP/1.1\r\nhost: tools\r\n\r\n" % CLOSE)
        sock.recv(1)  # returns when the server has closed this connection too
    return after_rest(arena, gateway, load)


def warm(arena: Arena, gateway: Gateway, load: Load) -> None:
    """Send as many requests before the rest, so that every gateway has worked."""
    words = h2load(gateway.port, load, REQUESTS, arena.log)
    checked(gateway, {} if statuses(words)[0] == REQUESTS else None, words)


def open_connections(arena: Arena, gateway: Gateway, requests: int) -> Sample:
    """Return the times of the same on connections that had as many requests before the rest."""
    del requests
    script = written(arena.folder / "rest.script", gateway.port, arena.rest_seconds)
    load = Load(SHAPE, PAGE.path, bearer(arena.tokens.tool), script=script)
    words = h2load(gateway.port, load, 2 * REQUESTS, arena.log)
    later = logged(arena.log.read_text("ascii"))[REQUESTS:]
    complete = len(later) == REQUESTS and statuses(words)[0] == 2 * REQUESTS
    checked(gateway, {} if complete else None, words)
    return {**times([request.milliseconds for request in later]), **start(later)}


def written(path: Path, port: int, rest_seconds: float) -> Path:
    """Write when each connection sends its requests: one for each stream, a rest, the same."""
    url = f"https://127.0.0.1:{port}{PAGE.path}"
    moments = (0.0, rest_seconds * 1e3)
    lines = [f"{moment:.3f}\t{url}\n" for moment in moments for _ in range(SHAPE.streams)]
    path.write_text("".join(lines), encoding="ascii")
    return path


def checked(gateway: Gateway, sample: Sample | None, words: str) -> Sample:
    """Return the sample; ends the group if a request was not answered with 2xx."""
    if sample is None:
        raise SystemExit(f"bench: {gateway.name}, after a rest: not every request is 2xx:\n{words}")
    return sample


def measure(arena: Arena) -> list[Measured]:
    """All kinds of connections, all gateways."""
    kinds = {NEW: new_connections, KEPT: open_connections, CLOSED: closed_connections}
    cases = [
        Case(Measured(title, gateway.name), partial(take, arena, gateway))
        for title, take in kinds.items()
        for gateway in arena.gateways
    ]
    return interleaved(cases, arena.rounds, arena.requests)


def goals(results: Results) -> list[Goal]:
    """No longer p99 than Envoy's."""
    return [
        Goal(f"p99 over Envoy's after a rest, {case}", P99_MAX, ratio, "×")
        for case in (NEW, KEPT, CLOSED)
        if (ratio := over(results, case, ENVOY, P99)) is not None
    ]


GROUP = Group(
    "rest",
    "The first requests after a rest",
    measure,
    figures=(P50, P99, START),
    goals=goals,
)
