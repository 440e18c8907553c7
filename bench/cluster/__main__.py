"""`python -m bench.cluster`: machines that tell one another; shows it, adds it to the results."""

import tempfile
from os import getloadavg
from pathlib import Path

import click
from rich.console import Console

from bench.__main__ import LATEST, WIDTH, announce
from bench.cluster import costs, cut, gateways, storm
from bench.cluster.report import Report, document, rendered
from bench.report import join, show_processor
from crewgate import limits

KINDS = ((limits.capsule_entries_max, True), (1, False), (1, True))  # entries, and with a table


@click.command()
@click.option("--revocations", type=click.IntRange(2, 1000), default=200, help="of each kind")
@click.option("--calls", type=click.IntRange(3, 3000), default=1000, help="in flight to be cut")
@click.option("--seconds", type=click.FloatRange(0.1, 60), default=5, help="of each load")
@click.option("--storm", "size", type=click.IntRange(1000, storm.MILLION), default=100_000)
@click.option("--output", type=click.Path(path_type=Path), default=LATEST, help="joined there")
def main(revocations: int, calls: int, seconds: float, size: int, output: Path) -> None:
    """Measure how soon a revocation is in force on other machines, and what it costs them."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    show_processor(console)
    announce(console, "three gateways")
    with _folder() as name:
        times = gateways.measure(Path(name), revocations)
    announce(console, "calls in flight on three gateways")
    with _folder() as name:
        times += cut.measure(Path(name), calls, revocations)
    announce(console, "what a member spends")
    with _folder() as name:
        spent = costs.measure(Path(name), seconds)
    storms = []
    for entries, has_table in KINDS:
        announce(console, f"a storm, {entries} a capsule")
        with _folder() as name:
            storms.append(storm.measure(Path(name), size, entries, table=has_table))
    report = Report(times, spent, storms, getloadavg()[0])
    for table in rendered(report):
        console.print(table)
        console.print()
    join(output, {"cluster": document(report)})


def _folder() -> tempfile.TemporaryDirectory[str]:
    """A short name: an agent's socket lies in it."""
    return tempfile.TemporaryDirectory(prefix="crewgate-")


if __name__ == "__main__":
    main()
