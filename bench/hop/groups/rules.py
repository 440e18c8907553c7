"""What the rules on branches cost: Crewgate as `init` configures it, beside one without `[loops]`.

The calls differ in their query, as those of an agent do that makes progress. One case sends the
same call all the time, which the rules of `init` observe.
"""

from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from bench.branch_rules import document, small_document
from bench.hop.arena import Arena, running
from bench.hop.figures import CPU, P50, RATE, Measured, find, interleaved
from bench.hop.gateways import CREWGATE
from bench.hop.groups.group import Group, Results
from bench.hop.groups.share import begin, prove
from bench.hop.load import Load, Shape, bearer
from bench.hop.stage import arrange, observe_loops, tokens
from bench.hop.tools import KILOBYTE, PAGE, TAKE
from bench.report import Goal

WITHOUT = "without rules"
SHAPE = Shape(16, 8)
DIFFERENT = 64  # far more than the calls in a row that a branch remembers
GET, SMALL, POST = "GET", "POST of a small JSON object", "POST of 1 KiB of JSON"
AGAIN = "GET, the same call again and again"
COST = 1.02  # times the CPU without rules, at most: for calls with small bodies


def _file(path: Path, body: bytes) -> Path:
    path.write_bytes(body)
    return path


def measure(arena: Arena) -> list[Measured]:
    """Both gateways, interleaved."""
    gateways, fields = [], {}
    with ExitStack() as stack:
        for place, name in enumerate((CREWGATE, WITHOUT)):
            stage = arrange(arena.folder / f"rules-{place}", arena.servers)
            if name == CREWGATE:
                observe_loops(stage)
            token = tokens(stage).tool
            gateway = stack.enter_context(running(partial(begin, stage, name, ())))
            prove(arena, gateway, token)
            gateways.append(gateway)
            fields[name] = bearer(token)
        small = _file(arena.folder / "small.json", small_document())
        large = _file(arena.folder / "large.json", document())
        loads = {
            GET: Load(SHAPE, PAGE.path, different=DIFFERENT),
            SMALL: Load(SHAPE, TAKE.path, body=small, different=DIFFERENT),
            POST: Load(SHAPE, KILOBYTE.path, body=large, different=DIFFERENT),
            AGAIN: Load(SHAPE, PAGE.path),
        }
        cases = [
            arena.case(case, gateway, replace(load, fields=fields[gateway.name]))
            for case, load in loads.items()
            for gateway in gateways
        ]
        return interleaved(cases, arena.rounds, arena.requests)


def goals(results: Results) -> list[Goal]:
    """What the rules add to calls that differ and have small bodies."""
    held = []
    for case in (GET, SMALL):
        ours, bare = find(results, case, CREWGATE), find(results, case, WITHOUT)
        if ours and bare:
            ratio = ours.ratio(CPU, bare).median
            held.append(Goal(f"CPU with the rules of init, {case}", COST, ratio, "×"))
    return held


GROUP = Group(
    "rules",
    f"With and without rules on branches, {SHAPE.name}",
    measure,
    figures=(CPU, replace(RATE, ratio=""), P50),
    goals=goals,
    usual=False,
)
