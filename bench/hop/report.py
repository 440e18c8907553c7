"""A run of the hop as tables, and as one member of bench/results/latest.json.

A group that was measured takes the place of what the document had of it; the other groups stay,
each with its own date and processor. Leaves the rest of the document as it is.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from os import getloadavg
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import report
from bench.hop.figures import Figure, Measured, find
from bench.hop.gateways import CREWGATE
from bench.hop.groups.group import Group, Results
from bench.report import headed
from bench.sampling import Spread

UNITS = {
    "cpu_microseconds": "of all processes of the gateway, a request",
    "per_second": "requests, as the load's client saw them",
    "p50_milliseconds": "of one request, as the load's client saw it; p99, p999 the same",
    "start_milliseconds": "from the first request until the first one of each stream is answered",
    "resident_megabytes": "10^6 bytes, of that of its processes which carries the requests",
    "spreads": "low is the least of the rounds, high the most",
    "crewgate_over": "Crewgate's figure over this one's in the same round",
}


@dataclass(frozen=True)
class Measurement:
    """What was measured of a group, and what was left out."""

    group: Group
    rounds: int
    requests: int
    results: Results
    versions: dict[str, str]
    skipped: dict[str, str]


def against(results: Results, other: Measured, figure: Figure) -> Spread | None:
    """Crewgate's figure over another's of the same case; nothing for itself."""
    own = find(results, other.case, CREWGATE)
    if own is None or own is other or not figure.ratio:
        return None
    return own.ratio(figure, other)


def result(measurement: Measurement, measured: Measured) -> dict[str, Any]:
    """One gateway in one case."""
    figures, results = measurement.group.figures, measurement.results
    ratios = {each.name: against(results, measured, each) for each in figures}
    return {
        "case": measured.case,
        "name": measured.name,
        **{figure.name: asdict(measured.spread(figure)) for figure in figures},
        "crewgate_over": {name: asdict(ratio) for name, ratio in ratios.items() if ratio},
    }


def document(measurement: Measurement) -> dict[str, Any]:
    """A group, for JSON."""
    group, results = measurement.group, measurement.results
    return {
        "title": group.title,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": report.machine(),
        "load_average": getloadavg()[0],
        "rounds": measurement.rounds,
        "requests": measurement.requests,
        "versions": measurement.versions,
        "skipped": measurement.skipped,
        "results": [result(measurement, measured) for measured in results],
        "goals": [{**asdict(goal), "met": goal.met} for goal in group.goals(results)],
    }


def join(path: Path, measurement: Measurement) -> None:
    """Put a group into the document's member `hop`."""
    standing = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    before = standing.get("hop")
    groups = before.get("groups", {}) if isinstance(before, dict) else {}
    groups = {**groups, measurement.group.name: document(measurement)}
    report.join(path, {"hop": {"units": UNITS, "groups": groups}})


def cells(results: Results, measured: Measured, figures: tuple[Figure, ...]) -> list[str]:
    """A gateway's row: figures, then ratios."""
    shown = []
    for figure in figures:
        spread = measured.spread(figure)
        shown.append(figure.form.format(spread.median))
        if figure.ranged:
            shown.append(" – ".join(figure.form.format(end) for end in (spread.low, spread.high)))
    for figure in figures:
        if figure.ratio:
            ratio = against(results, measured, figure)
            shown.append("" if ratio is None else f"{ratio.median:.2f}")
    return shown


def headings(figures: tuple[Figure, ...]) -> tuple[str, ...]:
    """The same of the heading."""
    names = []
    for figure in figures:
        names += [figure.heading, "least – most"] if figure.ranged else [figure.heading]
    return (*names, *(figure.ratio for figure in figures if figure.ratio))


def table(measurement: Measurement) -> Table:
    """A group: its cases below each other."""
    figures, results = measurement.group.figures, measurement.results
    shown = headed(measurement.group.title, headings(figures))
    case = ""
    for measured in results:
        if measured.case != case:
            case = measured.case
            shown.add_section()
            shown.add_row(f"[bold]{case}[/bold]")
        shown.add_row(f"  {measured.name}", *cells(results, measured, figures))
    if any(figure.ratio for figure in figures) and len({each.name for each in results}) > 1:
        shown.caption = "×: Crewgate's over this one's, in the same round"
    return shown


def show(measurement: Measurement, console: Console) -> None:
    """Print a group, and who was not there."""
    console.print(table(measurement))
    console.print()
    for name, reason in measurement.skipped.items():
        console.print(f"Without {name}: {reason}\n")


def show_goals(measurements: Sequence[Measurement], console: Console) -> None:
    """Print what all groups are held against."""
    goals = [goal for each in measurements for goal in each.group.goals(each.results)]
    if goals:
        console.print(report.goal_table(goals))
