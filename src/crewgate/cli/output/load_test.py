"""Prints the results of `crewgate bench`: a table, a JSON document, a plot. None has the token."""

from pathlib import Path
from typing import Any

import click

from crewgate.cli.output.tables import cells, new_table, open_console, print_table
from crewgate.load_test.plan import Request, Shape
from crewgate.load_test.plot import latency_png
from crewgate.load_test.result import PERCENTILES, SUCCESS, StepResult
from crewgate.runtime.durable_files import write_file

_BUSY = 0.9  # of a core


def document(
    request: Request, shape: Shape, client: str, results: list[StepResult]
) -> dict[str, Any]:
    """Return the results for JSON."""
    return {
        "url": request.target.url,
        "method": request.method,
        "client": client,
        "connections": shape.connections,
        "streams": shape.streams,
        "steps": [result.document() for result in results],
    }


def print_results(results: list[StepResult]) -> None:
    """Print a row for each step, and lines about steps whose figures need an explanation."""
    headings = ("a second", *(f"{name} ms" for name in PERCENTILES), "2xx", "others")
    table = new_table("step", *headings, numbers=headings)
    for result in results:
        found = result.percentiles()
        times = [f"{found[name]:.2f}" if found else "" for name in PERCENTILES]
        counts = [f"{result.successes:,}", f"{result.others:,}"]
        table.add_row(*cells(result.name, f"{result.per_second:,.0f}", *times, *counts))
    print_table(open_console(), table)
    for result in results:
        for line in _explained(result):
            click.echo(f"{result.name}: {line}")


def draw(file: Path, request: Request, results: list[StepResult]) -> None:
    """Write the plot of all steps but the first one, which is the start."""
    title = f"{request.method} {request.target.url}"
    write_file(file, latency_png(title, results[1:]), 0o644)


def _explained(result: StepResult) -> list[str]:
    """Return what happened to requests that were not answered with 2xx, and who was the limit."""
    parts = [
        f"{count:,} with status {status}"
        for status, count in sorted(result.statuses.items())
        if status not in SUCCESS
    ]
    parts += [f"{result.lost:,} lost with their stream or connection"] if result.lost else []
    parts += [f"{result.unanswered:,} without an answer"] if result.unanswered else []
    parts += [f"{result.unsent:,} not sent: no stream was free"] if result.unsent else []
    lines = [", ".join(parts)] if parts else []
    if result.client_share > _BUSY:
        lines.append("the client used a whole core, so it may be slower than the gateway")
    return lines
