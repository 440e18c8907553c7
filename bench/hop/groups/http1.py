"""HTTP/1.1 over TLS: one request at a time on each connection."""

from bench.hop.arena import Arena
from bench.hop.figures import Measured, interleaved
from bench.hop.groups.group import Group
from bench.hop.load import Load, Shape
from bench.hop.tools import PAGE

SHAPES = (Shape(16, 1), Shape(128, 1))


def measure(arena: Arena) -> list[Measured]:
    """Few connections and many."""
    cases = [
        arena.case(shape.name, gateway, Load(shape, PAGE.path, http1=True))
        for shape in SHAPES
        for gateway in arena.gateways
    ]
    return interleaved(cases, arena.rounds, arena.requests)


GROUP = Group(
    "http1",
    "HTTP/1.1 over TLS: connections × requests at a time",
    measure,
    rounds=0.6,
    requests=0.5,
)
