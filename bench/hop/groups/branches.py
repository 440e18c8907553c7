"""A token per branch: each request shows another of many tokens, as those of a whole crew do.

By the own client, since h2load shows the same token all the time, which its field table makes one
byte of. Every token is known to the gateways by the time they are measured.

Crewgate draws credit for each branch again and again, and refuses a call (503) for which that takes
too long. On a machine that is busy otherwise a few are: they are counted and shown.
"""

from functools import partial

from bench.hop import own_load
from bench.hop.arena import Arena
from bench.hop.client import Plan
from bench.hop.figures import OTHER, USUAL, Case, Measured, Sample, interleaved
from bench.hop.gateways import Gateway
from bench.hop.groups.group import Group
from bench.hop.load import Shape, at_least
from bench.hop.stage import mint
from bench.hop.tools import PAGE, TOOLS

SHAPES = (Shape(16, 8), Shape(128, 1))
BRANCHES = 1_000
SPARED = 0.02  # of the requests may be refused; more would be another load
MANY = f"{BRANCHES:,} tokens"


def load(gateway: Gateway, shape: Shape, tokens: tuple[str, ...], requests: int) -> Sample:
    """One sample; each token is shown once at least."""
    count = max(at_least(requests // gateway.share, shape), len(tokens))
    plan = Plan(gateway.port, PAGE.path, tokens, shape.connections, shape.streams, requests=count)
    return own_load.sample(gateway.process.pid, plan, spared=SPARED)


def introduce(gateway: Gateway, tokens: tuple[str, ...]) -> None:
    """Show each token once, a few at a time, and do not look at the answers.

    A branch that is seen for the first time is drawn for, and a machine that does other things may
    take longer for that than a call waits.
    """
    shape = Shape(4, 1)
    plan = Plan(
        gateway.port, PAGE.path, tokens, shape.connections, shape.streams, requests=len(tokens)
    )
    own_load.run(plan)


def measure(arena: Arena) -> list[Measured]:
    """One token, then many."""
    names = [tool.name for tool in TOOLS]
    shown = {
        "one token": (arena.tokens.tool,),
        MANY: tuple(mint(arena.stage, names, BRANCHES)),
    }
    for gateway in arena.gateways:
        introduce(gateway, shown[MANY])
    cases = [
        Case(
            Measured(f"{title}, {shape.name}", gateway.name),
            partial(load, gateway, shape, tokens),
        )
        for shape in SHAPES
        for title, tokens in shown.items()
        for gateway in arena.gateways
    ]
    return interleaved(cases, arena.rounds, arena.requests)


GROUP = Group(
    "branches",
    "A token per branch",
    measure,
    figures=(*USUAL, OTHER),
    rounds=0.6,
    requests=0.3,
)
