"""Times of single requests at fixed rates: what a caller waits while the gateway is not at its end.

Requests are sent when they are due, whether others have been answered or not. A gateway that
cannot keep up is shown with the rate that it did, and with the times that this costs.
"""

from dataclasses import replace

from bench.hop.arena import Arena
from bench.hop.figures import CPU, P50, P99, P999, RATE, Measured, interleaved
from bench.hop.gateways import Gateway
from bench.hop.groups.group import Group
from bench.hop.load import Load, Shape
from bench.hop.tools import PAGE

SHAPE = Shape(16, 1)
RATES = (1_000, 4_000)  # a second


def fits(gateway: Gateway, rate: int) -> bool:
    """A slow one is not asked for what it cannot do at all."""
    return rate == RATES[0] or gateway.share == 1


def measure(arena: Arena) -> list[Measured]:
    """All rates; a sample takes as long at each of them."""
    cases = [
        arena.case(f"{rate:,} a second", gateway, Load(SHAPE, PAGE.path, rate=rate))
        for rate in RATES
        for gateway in arena.gateways
        if fits(gateway, rate)
    ]
    return interleaved(cases, arena.rounds, arena.requests)


GROUP = Group(
    "rates",
    f"Fixed rates, {SHAPE.connections} connections",
    measure,
    figures=(CPU, replace(RATE, ratio=""), P50, P99, P999),
    rounds=0.6,
    requests=0.2,
)
