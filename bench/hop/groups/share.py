"""The share of verdict, audit and metrics in a request's cost: with and without; see bare.py.

Every gateway of this group is Crewgate on a configuration of the same kind, and Python handles all
calls. Each run checks that a gateway judges or records nothing where it should not, and everything
where it should.

No stand-in fits into the native code of a straight call. Its share is the time that the same native
parts take in memory (recorded_calls.py), on the gateways' core, over the CPU of such a call.
"""

import os
import sys
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from bench.hop.arena import Arena, answers, introduce, running
from bench.hop.bare import AUDIT, METRICS, VARIABLE, VERDICT
from bench.hop.figures import CPU, Case, Figure, Measured, Sample, find, interleaved
from bench.hop.gateways import CREWGATE, ROOT, Gateway
from bench.hop.groups.group import Group, Results
from bench.hop.load import Load, Shape, bearer
from bench.hop.processes import on_core, start
from bench.hop.stage import Stage, arrange, take_python_way, tokens
from bench.hop.tools import PAGE
from bench.recorded_calls import RecordedCalls
from bench.report import Goal

SHAPES = (Shape(16, 8), Shape(16, 1))
BOTH = f"without {VERDICT} and {AUDIT}"
UNCOUNTED = f"without {METRICS}"
STRAIGHT = f"{CREWGATE}, straight"
IN_MEMORY = Figure("recorded_microseconds", "in memory µs", "{:.2f}")
VARIANTS = {
    CREWGATE: (),
    f"without {VERDICT}": (VERDICT,),
    f"without {AUDIT}": (AUDIT,),
    BOTH: (VERDICT, AUDIT),
    UNCOUNTED: (METRICS,),
}
SHARE = 0.15  # of a request's cost, at most
SHARE_OF_METRICS = 0.01
RECORDS_FEW = 100  # what a worker has to say of itself


def begin(stage: Stage, name: str, without: tuple[str, ...]) -> Gateway:
    """Start one."""
    log = stage.folder / "serve.log"
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    settings = {VARIABLE: ",".join(without), "PYTHONPATH": path}
    command = [sys.executable, "-m", "bench.hop.bare", "-c", str(stage.file)]
    process = start(command, 0, log, settings)
    return Gateway(name, process, stage.port, "", log, judges=VERDICT not in without)


def records(folder: Path) -> int:
    """Lines of the audit."""
    return sum(path.read_bytes().count(b"\n") for path in folder.glob("*.jsonl"))


def prove(arena: Arena, gateway: Gateway, token: str) -> None:
    """End the group unless a bad token is let through exactly where nothing is judged."""
    introduce(gateway, token, arena.log)
    opened = answers(gateway, bearer(token), arena.log)[0]
    bad = answers(gateway, bearer("no.token.this"), arena.log)[0]
    if not opened or bool(bad) is gateway.judges:
        raise SystemExit(f"bench: {gateway.name} does not judge as it should")


def check_records(stages: dict[str, Stage], before: dict[str, int], sent: int) -> None:
    """End the group unless each call has a record exactly where there is an audit."""
    for name, stage in stages.items():
        written = records(stage.audit) - before[name]
        if (written > RECORDS_FEW) if AUDIT in VARIANTS[name] else (written < sent):
            raise SystemExit(f"bench: {name} has written {written} records of {sent} calls")


def measure(arena: Arena) -> list[Measured]:
    """All variants, interleaved, each a gateway of its own."""
    gateways, stages, loads = [], {}, {}
    has_straight_calls = False
    with ExitStack() as stack:
        for place, (name, without) in enumerate(VARIANTS.items()):
            stage = stages[name] = arrange(arena.folder / f"share-{place}", arena.servers)
            has_straight_calls = take_python_way(stage)
            token = tokens(stage).tool
            gateway = stack.enter_context(running(partial(begin, stage, name, without)))
            prove(arena, gateway, token)
            gateways.append(gateway)
            loads[name] = bearer(token)
        before = {name: records(stage.audit) for name, stage in stages.items()}
        cases = [
            arena.case(shape.name, gateway, Load(shape, PAGE.path, loads[gateway.name]))
            for shape in SHAPES
            for gateway in gateways
        ]
        names = [shape.name for shape in SHAPES]
        if has_straight_calls:
            cases = sorted(
                [*cases, *straight(arena)], key=lambda case: names.index(case.measured.case)
            )
        results = interleaved(cases, arena.rounds, arena.requests)
        check_records(stages, before, len(SHAPES) * arena.rounds * arena.requests)
    return results


def straight(arena: Arena) -> list[Case]:
    """The calls of the gateway that every group measures, and the same native parts in memory."""
    gateway, recorded = replace(arena.crewgate, name=STRAIGHT), RecordedCalls()

    def beside(case: Case) -> Case:
        def take(requests: int) -> Sample:
            found = case.take(requests)
            with on_core(0):
                return {**found, IN_MEMORY.name: recorded.microseconds()}

        return Case(case.measured, take)

    return [beside(arena.case(shape.name, gateway, Load(shape, PAGE.path))) for shape in SHAPES]


def goals_of_straight_calls(results: Results) -> list[Goal]:
    """What the native parts take of a call; none where there are no such calls."""
    return [
        Goal(
            f"verdict and audit line, of a straight call's CPU, {shape.name}",
            SHARE * 100,
            part,
            "%",
        )
        for shape in SHAPES
        if (call := find(results, shape.name, STRAIGHT))
        for part in [call.spread(IN_MEMORY).median / call.spread(CPU).median * 100]
    ]


def goals(results: Results) -> list[Goal]:
    """What is gone without them."""
    held = goals_of_straight_calls(results)
    for what, variant, most in (
        ("verdict and audit", BOTH, SHARE),
        ("metrics", UNCOUNTED, SHARE_OF_METRICS),
    ):
        for shape in SHAPES:
            whole, bare = (find(results, shape.name, name) for name in (CREWGATE, variant))
            if whole and bare:
                share = 1 - bare.ratio(CPU, whole).median
                text = f"{what}, of a request's CPU, {shape.name}"
                held.append(Goal(text, most * 100, share * 100, "%"))
    return held


GROUP = Group(
    "share",
    "Verdict, audit and metrics: Crewgate with and without",
    measure,
    goals=goals,
    rounds=0.8,
)
