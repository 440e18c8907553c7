"""What a worker holds in memory after a million requests, and how that has grown.

Crewgate alone, a gateway of its own, long. A point is taken after every fifth of the requests, and
growth counts from the first one. Some hundred connections come and go before it: what they leave
behind is garbage until Python's collector finds it, and has reached its most by then.
"""

from functools import partial

from bench.hop.arena import Arena, introduce, running
from bench.hop.figures import CPU, MEMORY, RATE, Figure, Measured, Sample
from bench.hop.gateways import CREWGATE, start_crewgate
from bench.hop.groups.group import Group, Results
from bench.hop.load import Load, Shape, bearer, sample
from bench.hop.processes import busiest, resident_megabytes, tree
from bench.hop.stage import arrange, tokens
from bench.hop.tools import PAGE
from bench.report import Goal

SHAPE = Shape(16, 8)
POINTS = 5
WARMING_LOADS = 60  # each with connections of its own
WARMING_REQUESTS = 1_000  # of each
RESIDENT = 100  # MB at the end, at most
GROWTH = 1  # MB from the first point to the last, at most: "no growth", and the noise of pages
GROWN = Figure("grown_megabytes", "grown MB", "{:+.2f}")


def measure(arena: Arena) -> list[Measured]:
    """Load after load on the same worker."""
    folder = arena.folder / "memory"
    stage = arrange(folder, arena.servers)
    token = tokens(stage).tool
    load = Load(SHAPE, PAGE.path, bearer(token))
    results = []
    with running(partial(start_crewgate, stage, folder, arena.environment)) as gateway:
        introduce(gateway, token, arena.log)
        pid = gateway.process.pid
        for _ in range(min(WARMING_LOADS, arena.requests // WARMING_REQUESTS)):
            sample(pid, gateway.port, load, WARMING_REQUESTS, arena.log)
        first = 0.0
        for point in range(1, POINTS + 1):
            found = sample(pid, gateway.port, load, arena.requests, arena.log)
            held = resident_megabytes(busiest(tree(pid)))
            first = first or held
            figures: Sample = {**found, MEMORY.name: held, GROWN.name: held - first}
            title = f"after {point * arena.requests:,} requests"
            results.append(Measured(title, CREWGATE, [figures]))
    return results


def goals(results: Results) -> list[Goal]:
    """At the last point."""
    last = results[-1]
    held, grown = (last.spread(figure).median for figure in (MEMORY, GROWN))
    return [
        Goal(f"resident {last.case}", RESIDENT, held, "MB"),
        Goal(f"growth since a fifth of them, {last.case}", GROWTH, grown, "MB"),
    ]


GROUP = Group(
    "memory",
    "Resident memory of a worker",
    measure,
    figures=(MEMORY, GROWN, CPU, RATE),
    goals=goals,
    rounds=0.0,
    requests=10.0,
    usual=False,
)
