"""What was measured, as a table for a person and as one JSON document for a script.

Decides which figures are held against which goals. The document names the processor, never the
machine: no host name, no path.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bench import bound, decisions, metrics, opening, processor, sidecar, tables
from bench.parallel import Scaling
from bench.sampling import Group, Result, Spread

LIBRARIES = ("crewgate", "PyNaCl", "PyJWT", "joserfc", "cryptography", "msgspec")
UNITS = {
    "microseconds": "of one call: tenth percentile, median, ninetieth percentile of the batches",
    "least_microseconds": "of one call, in the fastest batch",
    "per_second": "calls of one thread at the median",
    "ratio": "own time over the reference's in the same round; spread over the rounds",
    "scaling": "calls a second of one and of two together",
    "table_megabytes": "10^6 bytes mapped for the full table",
}


@dataclass(frozen=True)
class Report:
    """All of one run."""

    rounds: int
    groups: tuple[Group, ...]
    scaling: tuple[Scaling, ...]
    table_megabytes: float

    def __getitem__(self, name: str) -> Result:
        """The result of that name in the first group that has it."""
        found = (group.get(name) for group in self.groups)
        return next(result for result in found if result is not None)


@dataclass(frozen=True)
class Goal:
    """A figure and what it should be: at most `bound`, or at least where `least`."""

    what: str
    bound: float
    measured: float
    unit: str
    least: bool = False

    @property
    def met(self) -> bool:
        """Whether this run held it."""
        return self.measured >= self.bound if self.least else self.measured <= self.bound


def median_ratio(report: Report, name: str) -> float:
    """Of a case that has a reference."""
    ratio = report[name].ratio
    if ratio is None:
        raise KeyError(name)
    return ratio.median


def goals(report: Report) -> list[Goal]:
    """The figures that the project promises."""
    warm = report[decisions.GATEWAY]
    first = report[opening.FIRST].microseconds.median - report[opening.LATER].microseconds.median
    bound_over_bearer = median_ratio(report, bound.CERTIFICATE) / median_ratio(report, bound.BEARER)
    proven, through = (
        report[name].microseconds.median for name in (sidecar.PROVEN, sidecar.SIDECAR)
    )
    scrape = report[metrics.SCRAPED].microseconds.median
    return [
        Goal("warm decide + settle, median", 0.5, warm.microseconds.median, "µs"),
        Goal("PyJWT over warm", 250, 1 / median_ratio(report, decisions.GATEWAY), "×", least=True),
        Goal("cold over libsodium alone", 1.15, median_ratio(report, decisions.KNOWN), "×"),
        Goal("DPoP call over libsodium alone", 1.25, median_ratio(report, bound.DPOP), "×"),
        Goal("certificate-bound over bearer", 1.02, bound_over_bearer, "×"),
        Goal("first call above a later one, medians", 2, first / 1e3, "ms"),
        Goal("a sidecar's part of a call, medians", 0.2, (through - proven) / 1e3, "ms"),
        Goal("full over empty, one branch", 1.5, median_ratio(report, tables.FULL_ONE), "×"),
        Goal("full over empty, random", 1.5, median_ratio(report, tables.FULL_MANY), "×"),
        Goal("a scrape of 10,000 series", 20, scrape / 1e3, "ms"),
        Goal("size of the full table", 270, report.table_megabytes, "MB"),
    ]


def machine() -> dict[str, Any]:
    """Processor and versions."""
    return {**processor.processor(), "libraries": {name: version(name) for name in LIBRARIES}}


def show_processor(console: Console) -> None:
    """Print what all figures of this run come from."""
    console.print(
        f"Processor: {processor.line(processor.processor())}\n", highlight=False, soft_wrap=True
    )


def document(report: Report) -> dict[str, Any]:
    """The whole run, for JSON."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "units": UNITS,
        "rounds": report.rounds,
        "groups": [
            {
                "title": group.title,
                "results": [
                    {**asdict(result), "per_second": result.per_second} for result in group.results
                ],
            }
            for group in report.groups
        ],
        "scaling": [asdict(each) for each in report.scaling],
        "table_megabytes": report.table_megabytes,
        "goals": [{**asdict(goal), "met": goal.met} for goal in goals(report)],
    }


def rounded(value: object) -> object:
    """The document with five significant digits: more is noise."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {name: rounded(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(member) for member in value]
    return value


def join(path: Path, members: dict[str, Any]) -> None:
    """Put these members into the document, readable in a diff; what else it has stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    standing = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    text = json.dumps(rounded({**standing, **members}), indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def spread(values: Spread, form: str) -> list[str]:
    """Two cells: the median, and from where to where."""
    return [form.format(values.median), f"{form} – {form}".format(values.low, values.high)]


def ratios(values: Spread | None) -> list[str]:
    """The same of a ratio; of one far below 1 the inverse, which is easier to read."""
    if values is None:
        return ["", ""]
    if values.median > 0.1:
        return spread(values, "{:.3g}")
    inverse = Spread(1 / values.high, 1 / values.median, 1 / values.low)
    return [f"1/{inverse.median:.0f}", f"1/{inverse.low:.0f} – 1/{inverse.high:.0f}"]


def headed(title: str, headings: tuple[str, ...]) -> Table:
    """An empty table whose first column names what was measured."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    table.add_column("", no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def group_table(group: Group) -> Table:
    """A group for a terminal."""
    table = headed(group.title, ("µs", "10 – 90 %", "a second", "ratio", "10 – 90 %"))
    for result in group.results:
        micro = spread(result.microseconds, "{:.3f}")
        table.add_row(result.name, *micro, f"{result.per_second:,.0f}", *ratios(result.ratio))
    references = {result.reference for result in group.results} - {None}
    if references:
        table.caption = "ratio to: " + " / ".join(sorted(map(str, references)))
    return table


def scaling_table(report: Report) -> Table:
    """Threads and processes for a terminal."""
    table = headed("Together", ("one, a second", "two, a second", "ratio", "10 – 90 %"))
    for each in report.scaling:
        sums = [f"{each.one.median:,.0f}", f"{each.two.median:,.0f}"]
        table.add_row(each.name, *sums, *spread(each.ratio, "{:.2f}"))
    return table


def goal_table(goals: list[Goal]) -> Table:
    """Each goal beside what this run measured."""
    table = headed("Goals", ("goal", "measured", ""))
    for goal in goals:
        sign = "at least" if goal.least else "at most"
        bound, measured = (f"{value:.4g} {goal.unit}" for value in (goal.bound, goal.measured))
        table.add_row(
            goal.what, f"{sign} {bound}", measured, "met" if goal.met else "[bold red]missed"
        )
    return table


def rendered(report: Report) -> Iterator[Table]:
    """All tables, the goals last."""
    yield from map(group_table, report.groups)
    yield scaling_table(report)
    yield goal_table(goals(report))


def show(report: Report, console: Console) -> None:
    """Print the run."""
    for table in rendered(report):
        console.print(table)
        console.print()
