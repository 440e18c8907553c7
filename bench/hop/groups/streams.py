"""HTTP/2 over TLS, one request and many at a time: the figures that the project promises."""

from pathlib import Path

from bench.hop.arena import Arena
from bench.hop.figures import CPU, START, START_P99, USUAL, Measured, interleaved
from bench.hop.gateways import STACK
from bench.hop.groups.beside_envoy import goals_of, over
from bench.hop.groups.group import Group, Results
from bench.hop.load import Load, Shape
from bench.hop.tools import KILOBYTE, PAGE
from bench.report import Goal

SHAPES = (Shape(16, 8), Shape(16, 32), Shape(16, 1), Shape(1, 1))
POST = f"POST of 1 KiB, {SHAPES[0].name}"
BODY_BYTES = 1024
# Of Envoy's CPU, at most.
BOUNDS = {
    **dict(zip((shape.name for shape in SHAPES), (0.40, 0.40, 0.52, 0.52), strict=True)),
    POST: 0.50,
}
STACK_OVER_OURS = 5.0
SINGLE_PART = 4  # one request at a time is slow


def loads(folder: Path) -> dict[str, Load]:
    """Return the load of each case."""
    body = folder / "kilobyte"
    body.write_bytes(b"k" * BODY_BYTES)
    found = {shape.name: Load(shape, PAGE.path) for shape in SHAPES}
    return {**found, POST: Load(SHAPES[0], KILOBYTE.path, body=body)}


def measure(arena: Arena) -> list[Measured]:
    """All shapes, all gateways."""
    cases = [
        arena.case(title, gateway, load, part=part(load.shape))
        for title, load in loads(arena.folder).items()
        for gateway in arena.gateways
    ]
    return interleaved(cases, arena.rounds, arena.requests)


def part(shape: Shape) -> int:
    """How many times fewer requests."""
    return SINGLE_PART if shape.connections * shape.streams == 1 else 1


def goals(results: Results) -> list[Goal]:
    """Of those peers that were there."""
    held = [goal for case, bound in BOUNDS.items() for goal in goals_of(results, case, bound)]
    case = SHAPES[0].name
    cpu = over(results, case, STACK, CPU)
    if cpu:
        what = f"CPU of the Python stack over ours, {case}"
        held.append(Goal(what, STACK_OVER_OURS, 1 / cpu, "×", least=True))
    return held


GROUP = Group(
    "streams",
    "HTTP/2 over TLS: connections × requests at a time",
    measure,
    figures=(*USUAL, START_P99, START),
    goals=goals,
)
