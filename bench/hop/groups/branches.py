"""A token per branch: each request shows another of many tokens, as those of a whole crew do.

By the own client, since h2load shows the same token all the time, which its field table makes one
byte of. Every token is known to the gateways by the time they are measured.
"""

from functools import partial

from bench.hop import own_load
from bench.hop.arena import Arena
from bench.hop.client import Plan
from bench.hop.figures import Case, Measured, Sample, interleaved
from bench.hop.gateways import Gateway
from bench.hop.groups.group import Group
from bench.hop.load import Shape, at_least
from bench.hop.stage import mint
from bench.hop.tools import PAGE, TOOLS

SHAPES = (Shape(16, 8), Shape(128, 1))
BRANCHES = 1_000


def load(gateway: Gateway, shape: Shape, tokens: tuple[str, ...], requests: int) -> Sample:
    """One sample; each token is shown once at least."""
    count = max(at_least(requests // gateway.share, shape), len(tokens))
    plan = Plan(gateway.port, PAGE.path, tokens, shape.connections, shape.streams, requests=count)
    return own_load.sample(gateway.process.pid, plan)


def measure(arena: Arena) -> list[Measured]:
    """One token, then many."""
    names = [tool.name for tool in TOOLS]
    shown = {
        "one token": (arena.tokens.tool,),
        f"{BRANCHES:,} tokens": tuple(mint(arena.stage, names, BRANCHES)),
    }
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


GROUP = Group("branches", "A token per branch", measure, rounds=0.6, requests=0.4)
