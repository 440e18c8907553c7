"""Idle connections beside a normal load: what they cost in CPU and memory.

All gateways are measured without them in turn, then with them in turn. The memory of a connection
is what a gateway has grown by when all of them have connected, and before the load. A gateway that
has closed any of them in between ends the group: its memory would be that of fewer.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from bench.hop.arena import Arena
from bench.hop.figures import MEMORY, USUAL, Case, Figure, Measured, Sample, find, interleaved
from bench.hop.gateways import CREWGATE, Gateway
from bench.hop.groups.group import Group, Results
from bench.hop.limits import room
from bench.hop.load import Load, Shape
from bench.hop.processes import busiest, end, on_core, resident_megabytes, tree
from bench.hop.tools import PAGE
from bench.report import Goal

SHAPE = Shape(16, 8)
COUNT = 5_000
EACH = Figure("kilobytes_each", "KB each", "{:.1f}")
EACH_MAX = 25  # KB, at most
ALONE = "without"


@contextmanager
def idling(gateway: Gateway, count: int) -> Iterator[None]:
    """So many connections for as long as this lasts, in a process on the last core."""
    command = [sys.executable, "-m", "bench.hop.idle_peers", str(gateway.port), str(count)]
    with on_core(-1):
        peers = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        if peers.stdout is None or peers.stdout.readline() != b"ready\n":
            raise SystemExit(f"bench: {gateway.name} does not take {count} connections")
        yield
        held = int(peers.communicate(b"\n")[0])
        if held != count:
            raise SystemExit(f"bench: {gateway.name} has closed {count - held} idle connections")
    finally:
        end(peers)


def memory(gateway: Gateway) -> float:
    """Megabytes of the process that carries the requests."""
    return resident_megabytes(busiest(tree(gateway.process.pid)))


def with_memory(case: Case, gateway: Gateway, each: float) -> Case:
    """The same case, with the memory after each sample and the kilobytes of an idle connection."""

    def take(requests: int) -> Sample:
        return {**case.take(requests), MEMORY.name: memory(gateway), EACH.name: each}

    return Case(case.measured, take)


def beside_title(count: int) -> str:
    """The title of the case with so many idle connections."""
    return f"beside {count:,} idle connections"


def measure(arena: Arena) -> list[Measured]:
    """Without, then with."""
    count = min(COUNT, room())
    results = []
    with ExitStack() as stack:
        for title, idle in ((ALONE, 0), (beside_title(count), count)):
            each = dict.fromkeys((gateway.name for gateway in arena.gateways), 0.0)
            # Crewgate's last: it is the first to close an idle connection, after two minutes.
            for gateway in reversed(arena.gateways if idle else ()):
                before = memory(gateway)
                stack.enter_context(idling(gateway, idle))
                each[gateway.name] = (memory(gateway) - before) * 1e3 / idle
            load = Load(SHAPE, PAGE.path)
            cases = [
                with_memory(arena.case(title, gateway, load), gateway, each[gateway.name])
                for gateway in arena.gateways
            ]
            results += interleaved(cases, arena.rounds, arena.requests)
    return results


def goals(results: Results) -> list[Goal]:
    """Of Crewgate; the bound is for as many connections as the group is meant to have."""
    beside = find(results, beside_title(COUNT), CREWGATE)
    if beside is None:
        return []
    return [Goal("memory of an idle connection", EACH_MAX, beside.spread(EACH).median, "KB")]


GROUP = Group(
    "idle",
    f"A load of {SHAPE.name} without and beside idle connections",
    measure,
    figures=(*USUAL, MEMORY, EACH),
    goals=goals,
    rounds=0.6,
    requests=0.5,
    usual=False,
)
