"""`python -m bench.boundary`: measures the boundary, shows it, adds it to the results."""

import tempfile
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console

from bench.__main__ import LATEST, WIDTH, announce
from bench.boundary import gateway, memory
from bench.report import (
    Goal,
    goal_table,
    group_table,
    headed,
    join,
    machine,
    show_processor,
    spread,
)


@click.command()
@click.option("--rounds", type=click.IntRange(2, 1000), default=60, help="of each comparison")
@click.option("--output", type=click.Path(path_type=Path), default=LATEST, help="the JSON document")
def main(rounds: int, output: Path) -> None:
    """Measure handshakes with and without certificates, and how soon a revocation closes."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    show_processor(console)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "memory").mkdir()
        announce(console, "handshakes in memory")
        groups = memory.handshakes(folder / "memory", rounds)
        with gateway.serving(folder) as (config, worker):
            announce(console, "connections")
            rows = gateway.accepted(config, worker, folder, max(2, rounds // 10), 200)
            announce(console, "revocations")
            closed = gateway.closed(config, folder, max(2, rounds // 3))
            closed.append(gateway.commands(config, folder, max(2, rounds // 10)))
    many = [group.get(memory.MANY) for group in groups]
    ratios = [each.ratio.median for each in many if each and each.ratio]
    goals = [
        Goal("handshake, 10,000 revoked over none", 1.2, ratios[-1], "×"),
        Goal("revoked to closed, of the agent, most", 100, closed[1].most, "ms"),
    ]
    for group in groups:
        console.print(group_table(group))
    table = headed("A connection to one worker", ("a second", "10 – 90 %", "CPU, µs", "10 – 90 %"))
    for row in rows:
        table.add_row(
            row.name, *spread(row.per_second, "{:,.0f}"), *spread(row.cpu_microseconds, "{:,.0f}")
        )
    console.print(table)
    table = headed("Revoked to closed", ("ms", "10 – 90 %", "most"))
    for each in closed:
        table.add_row(each.name, *spread(each.milliseconds, "{:.1f}"), f"{each.most:.1f}")
    console.print(table)
    console.print(goal_table(goals))
    boundary = {
        "machine": machine(),
        "rounds": rounds,
        "handshakes": [asdict(group) for group in groups],
        "connections": [asdict(row) for row in rows],
        "closed": [asdict(each) for each in closed],
        "goals": [{**asdict(goal), "met": goal.met} for goal in goals],
    }
    join(output, {"boundary": boundary})


if __name__ == "__main__":
    main()
