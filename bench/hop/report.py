"""A run of the hop as tables, and as one member of bench/results/latest.json.

Decides which ratios are held against which goals; leaves the rest of the document as it is.
"""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from os import getloadavg
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import report
from bench.hop.gateways import CREWGATE, ENVOY, STACK
from bench.hop.rounds import FIGURES, SHAPES, Measured, Run
from bench.report import Goal, headed
from bench.sampling import Spread

UNITS = {
    "cpu_microseconds": "of all processes of the gateway, a request",
    "per_second": "requests, by h2load",
    "p50_milliseconds": "of one request, as h2load saw it; p99 the same",
    "spreads": "low is the least of the rounds, high the most",
    "crewgate_over": "Crewgate's figure over this one's in the same round",
}
CPU, RATE = FIGURES[:2]


def against(run: Run, other: Measured, figure: str) -> Spread | None:
    """Crewgate's figure over another's; nothing for itself."""
    own = run.get(other.shape, CREWGATE)
    return None if own is None or own is other else own.ratio(figure, other)


def goals(run: Run) -> list[Goal]:
    """The figures that the project promises, of those peers that were there."""
    held = []
    for shape, bound in zip(SHAPES, (0.8, 1.0, 1.0), strict=True):
        envoy = run.get(shape, ENVOY)
        ratio = against(run, envoy, CPU) if envoy else None
        rate = against(run, envoy, RATE) if envoy else None
        if ratio and rate:
            held.append(Goal(f"CPU over Envoy's, {shape.name}", bound, ratio.median, "×"))
            what = f"requests a second over Envoy's, {shape.name}"
            held.append(Goal(what, 1.0, rate.median, "×", least=True))
    stack = run.get(SHAPES[0], STACK)
    ratio = against(run, stack, CPU) if stack else None
    if ratio:
        what = f"CPU of the Python stack over ours, {SHAPES[0].name}"
        held.append(Goal(what, 5.0, 1 / ratio.median, "×", least=True))
    return held


def result(run: Run, measured: Measured) -> dict[str, Any]:
    """One gateway under one shape."""
    cpu, rate = (against(run, measured, figure) for figure in (CPU, RATE))
    return {
        "shape": asdict(measured.shape),
        "name": measured.name,
        **{figure: asdict(measured.spread(figure)) for figure in FIGURES},
        "crewgate_over": {CPU: asdict(cpu), RATE: asdict(rate)} if cpu and rate else None,
    }


def document(run: Run) -> dict[str, Any]:
    """The member `hop` of the document."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": report.machine(),
        "load_average": getloadavg()[0],
        "units": UNITS,
        "rounds": run.rounds,
        "requests": run.requests,
        "versions": run.versions,
        "skipped": run.skipped,
        "results": [result(run, measured) for measured in run.measured],
        "goals": [{**asdict(goal), "met": goal.met} for goal in goals(run)],
    }


def row(run: Run, measured: Measured) -> list[str]:
    """Cells of one gateway."""
    cpu = measured.spread(CPU)
    rate, half, most = (measured.spread(figure).median for figure in FIGURES[1:])
    ratios = [against(run, measured, figure) for figure in (CPU, RATE)]
    shown = ["" if ratio is None else f"{ratio.median:.2f}" for ratio in ratios]
    spread = f"{cpu.low:.1f} – {cpu.high:.1f}"
    return [f"{cpu.median:.1f}", spread, f"{rate:,.0f}", f"{half:.2f}", f"{most:.2f}", *shown]


def rendered(run: Run) -> Iterator[Table]:
    """A table for each shape, the goals last."""
    headings = ("CPU µs", "least – most", "a second", "p50 ms", "p99 ms", "CPU ×", "rate ×")
    for shape in SHAPES:
        table = headed(f"{shape.name}: connections × requests at a time", headings)
        for measured in run.measured:
            if measured.shape == shape:
                table.add_row(measured.name, *row(run, measured))
        if len(run.versions) > 1:
            table.caption = "×: Crewgate's over this one's, in the same round"
        yield table
    if goals(run):
        yield report.goal_table(goals(run))


def show(run: Run, console: Console) -> None:
    """Print the run, and who was not there."""
    for table in rendered(run):
        console.print(table)
        console.print()
    for name, reason in run.skipped.items():
        console.print(f"Without {name}: {reason}")
