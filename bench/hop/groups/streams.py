"""HTTP/2 over TLS, one request and many at a time: the figures that the project promises."""

from bench.hop.arena import Arena
from bench.hop.figures import CPU, RATE, Figure, Measured, find, interleaved
from bench.hop.gateways import CREWGATE, ENVOY, STACK
from bench.hop.groups.group import Group, Results
from bench.hop.load import Load, Shape
from bench.hop.tools import PAGE
from bench.report import Goal

SHAPES = (Shape(16, 8), Shape(16, 32), Shape(16, 1), Shape(1, 1))
BOUNDS = {SHAPES[0]: 0.8, SHAPES[2]: 1.0, SHAPES[3]: 1.0}  # of Crewgate's CPU over Envoy's
SINGLE_PART = 4  # one request at a time is slow


def measure(arena: Arena) -> list[Measured]:
    """All shapes, all gateways."""
    cases = [
        arena.case(shape.name, gateway, Load(shape, PAGE.path), part=part(shape))
        for shape in SHAPES
        for gateway in arena.gateways
    ]
    return interleaved(cases, arena.rounds, arena.requests)


def part(shape: Shape) -> int:
    """How many times fewer requests."""
    return SINGLE_PART if shape.connections * shape.streams == 1 else 1


def over(results: Results, case: str, name: str, figure: Figure) -> float | None:
    """Crewgate's over another's: the median over the rounds."""
    own, other = find(results, case, CREWGATE), find(results, case, name)
    return own.ratio(figure, other).median if own and other else None


def goals(results: Results) -> list[Goal]:
    """Of those peers that were there."""
    held = []
    for shape, bound in BOUNDS.items():
        cpu, rate = (over(results, shape.name, ENVOY, figure) for figure in (CPU, RATE))
        if cpu and rate:
            held.append(Goal(f"CPU over Envoy's, {shape.name}", bound, cpu, "×"))
            what = f"requests a second over Envoy's, {shape.name}"
            held.append(Goal(what, 1.0, rate, "×", least=True))
    cpu = over(results, SHAPES[0].name, STACK, CPU)
    if cpu:
        what = f"CPU of the Python stack over ours, {SHAPES[0].name}"
        held.append(Goal(what, 5.0, 1 / cpu, "×", least=True))
    return held


GROUP = Group("streams", "HTTP/2 over TLS: connections × requests at a time", measure, goals=goals)
