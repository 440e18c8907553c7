"""`python -m bench`: measures everything, shows it, writes bench/results/latest.json."""

from pathlib import Path

import click
from rich.console import Console

from bench import (
    audit_checkpoints,
    bound,
    branch_rules,
    call_limits,
    decisions,
    ledger,
    metrics,
    opening,
    parallel,
    report,
    sidecar,
    tables,
)

MEASURED = (
    decisions.warm,
    decisions.cold,
    decisions.newcomers,
    decisions.refusals,
    call_limits.limited,
    branch_rules.judged,
    bound.bound,
    tables.owner,
    ledger.draws,
    opening.in_a_row,
    opening.paused,
    sidecar.calls,
    metrics.counting,
    metrics.scraping,
    audit_checkpoints.signed,
)
WIDTH = 110  # columns of a file or a pipe
LATEST = Path(__file__).parent / "results" / "latest.json"


def announce(console: Console, what: str) -> None:
    """Tell a person what takes so long; no spinner, whose thread would be measured as well."""
    if console.is_terminal:
        console.print(f"[dim]measuring: {what}")


@click.command()
@click.option("--rounds", type=click.IntRange(2, 2000), default=300, help="of each comparison")
@click.option("--output", type=click.Path(path_type=Path), default=LATEST, help="the JSON document")
def main(rounds: int, output: Path) -> None:
    """Measure decisions and the table beside what others need for the same token."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    report.show_processor(console)
    few = max(2, rounds // 10)
    announce(console, "processes and threads")
    scaling = [parallel.threads(few), *parallel.processes(few)]
    groups = []
    for measured in MEASURED:
        announce(console, measured.__name__)
        groups.append(measured(rounds))
    announce(console, "the largest table")
    sizes, megabytes = tables.sizes(rounds)
    run = report.Report(rounds, (*groups, sizes), tuple(scaling), megabytes)
    report.show(run, console)
    report.join(output, report.document(run))


if __name__ == "__main__":
    main()
