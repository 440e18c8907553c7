"""A normal client beside floods: 50 calls a second, while another address floods the gateway.

Each flood runs alone. All normal calls must succeed. Crewgate is measured with straight calls and
without them, in turn, and so is each other gateway that is asked for.
"""

from dataclasses import asdict, replace
from functools import partial

from bench.hop.arena import Arena, introduce, running
from bench.hop.figures import (
    CORE,
    P50,
    P99,
    Case,
    Figure,
    Measured,
    Sample,
    find,
    interleaved,
    times,
)
from bench.hop.floods import FLOODS, Plan
from bench.hop.gateways import CREWGATE, STACK, Gateway, start_crewgate
from bench.hop.groups.group import Group, Results
from bench.hop.hostile_process import hostile
from bench.hop.load import Load, Shape, at_least, bearer, h2load, logged, statuses
from bench.hop.processes import cpu_seconds, tree
from bench.hop.stage import Stage, arrange, take_python_way, tokens
from bench.hop.tools import PAGE
from bench.report import Goal

SHAPE = Shape(2, 1)
CALLS_A_SECOND = 50
FIRST_CALLS = 50  # not counted: they wait for credit and for connections
SECONDS_A_REQUEST = 1 / 1_000  # turns a number of requests into the length of a sample
PYTHON_WAY = f"{CREWGATE}, Python way"
END_SECONDS = 30.0
P99_MAX = 73.0  # milliseconds
CONNECTED = Figure("flood_connections", "opened", "{:,.0f}")
SENT = Figure("flood_megabytes", "sent MB", "{:,.1f}")


def take(arena: Arena, stage: Stage, gateway: Gateway, flood: str, requests: int) -> Sample:
    """Measure the normal client beside a flood; both have a new token."""
    token = tokens(stage).tool
    introduce(gateway, token, arena.log)
    load = Load(SHAPE, PAGE.path, bearer(token), rate=CALLS_A_SECOND)
    calls = FIRST_CALLS + at_least(round(requests * SECONDS_A_REQUEST * CALLS_A_SECOND), SHAPE)
    plan = Plan(gateway.port, tokens(stage).tool, flood)
    with hostile("bench.hop.floods", asdict(plan), f"the flood {flood}", END_SECONDS) as toll:
        pids = tree(gateway.process.pid)
        before = cpu_seconds(pids)
        words = h2load(gateway.port, load, calls, arena.log)
        spent = cpu_seconds(pids) - before
    if statuses(words)[0] != calls:
        raise SystemExit(f"bench: calls beside {flood} failed through {gateway.name}:\n{words}")
    later = logged(arena.log.read_text(encoding="ascii"))[FIRST_CALLS:]
    return {
        **times([call.milliseconds for call in later]),
        CORE.name: spent / calls * CALLS_A_SECOND * 100,
        CONNECTED.name: toll["connected"],
        SENT.name: toll["sent_bytes"] / 1e6,
    }


def measure(arena: Arena) -> list[Measured]:
    """Take all floods, and all gateways beside each of them."""
    stage = arrange(arena.folder / "python-way", arena.servers)
    has_two_ways = take_python_way(stage)
    with running(partial(start_crewgate, stage, arena.folder, arena.environment)) as ordinary:
        pairs = [(arena.stage, each) for each in arena.gateways if each.name != STACK]
        if has_two_ways:
            pairs.append((stage, replace(ordinary, name=PYTHON_WAY)))
        cases = [
            Case(Measured(flood, gateway.name), partial(take, arena, of, gateway, flood))
            for flood in arena.floods or FLOODS
            for of, gateway in pairs
        ]
        return interleaved(cases, arena.rounds, arena.requests)


def goals(results: Results) -> list[Goal]:
    """Beside each flood, with straight calls and without."""
    return [
        Goal(f"p99 beside {flood}, {name}", P99_MAX, found.spread(P99).median, "ms")
        for flood in FLOODS
        for name in (CREWGATE, PYTHON_WAY)
        if (found := find(results, flood, name))
    ]


GROUP = Group(
    "floods",
    f"{CALLS_A_SECOND} calls a second beside floods",
    measure,
    figures=(P50, P99, CORE, CONNECTED, SENT),
    goals=goals,
    rounds=0.4,
    requests=0.3,
    usual=False,
)
