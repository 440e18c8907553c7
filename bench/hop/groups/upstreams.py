"""HTTP/1.1 and HTTP/2 to the tool server. Whoever cannot speak HTTP/2 to it is left out, with why.

The HTTP/2 tool server understands nothing else, so an answer proves how it was asked. It is Python
with libnghttp2 and takes longer for a request than the other one does.
"""

from contextlib import ExitStack
from functools import partial

from bench.hop.arena import Arena, answers, introduce, running
from bench.hop.figures import START, START_P99, USUAL, Measured, interleaved
from bench.hop.gateways import CREWGATE, ENVOY, KINDS, Gateway
from bench.hop.groups.beside_envoy import goals_of
from bench.hop.groups.group import Group, Results
from bench.hop.load import Load, Shape, bearer
from bench.hop.stage import arrange, refusal, tokens
from bench.hop.tools import PAGE
from bench.report import Goal

SHAPES = (Shape(16, 8), Shape(16, 1))
ABLE = (CREWGATE, ENVOY)
CPU_MAX = 0.45  # of Envoy's, with HTTP/2 to the tool server


def speakers(arena: Arena, stack: ExitStack) -> list[tuple[Gateway, str]]:
    """Those that speak HTTP/2 to the tool server, and the token that opens them."""
    found = []
    folder = arena.folder / "h2"
    stage = arrange(folder / "crewgate", arena.servers, h2=True)
    token = tokens(stage).tool
    present = {gateway.name for gateway in arena.gateways}
    for kind in KINDS:
        if kind.name not in present.intersection(ABLE):
            continue
        reason = refusal(stage.file) if kind.name == CREWGATE else ""
        if not reason:
            begin = partial(kind.start, stage, folder, arena.environment)
            gateway = stack.enter_context(running(begin))
            introduce(gateway, token, arena.log)
            counts = answers(gateway, bearer(token), arena.log)
            if counts[0]:
                found.append((gateway, token))
                continue
            reason = f"one request was answered {counts} (2xx, 3xx, 4xx, 5xx)"
        arena.left_out[f"{kind.name}, HTTP/2 to the tool server"] = reason
    return found


def measure(arena: Arena) -> list[Measured]:
    """Both protocols beside each other."""
    with ExitStack() as stack:
        spoken = {
            "HTTP/1.1": [
                (gateway, arena.tokens.tool) for gateway in arena.gateways if gateway.name in ABLE
            ],
            "HTTP/2": speakers(arena, stack),
        }
        cases = [
            arena.case(f"{protocol}, {shape.name}", gateway, Load(shape, PAGE.path, bearer(token)))
            for shape in SHAPES
            for protocol, gateways in spoken.items()
            for gateway, token in gateways
        ]
        return interleaved(cases, arena.rounds, arena.requests)


def goals(results: Results) -> list[Goal]:
    """Of HTTP/2; those of HTTP/1.1 are in streams.py."""
    return goals_of(results, f"HTTP/2, {SHAPES[0].name}", CPU_MAX)


GROUP = Group(
    "upstreams",
    "HTTP/1.1 and HTTP/2 to the tool server",
    measure,
    figures=(*USUAL, START_P99, START),
    goals=goals,
    requests=0.5,
)
