"""`python -m bench.hop`: a request through Crewgate and through its peers, side by side."""

import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console

from bench.__main__ import LATEST
from bench.hop import load, report
from bench.hop.arena import Arena, install, standing
from bench.hop.floods import FLOODS
from bench.hop.gateways import ENVOY, NGINX, STACK
from bench.hop.groups.group import Group
from bench.hop.groups.suite import GROUPS
from bench.hop.mcp_gateways import CONTEXTFORGE, LITELLM
from bench.report import show_processor

WIDTH = 140  # where the output is no terminal
NAMES = {
    "nginx": NGINX,
    "envoy": ENVOY,
    "stack": STACK,
    "contextforge": CONTEXTFORGE,  # these two in the group mcp_gateways only
    "litellm": LITELLM,
}


@click.command()
@click.option("--group", "names", type=click.Choice([*GROUPS, "all"]), multiple=True)
@click.option("--rounds", type=click.IntRange(1, 100), default=5, help="some groups take fewer")
@click.option("--requests", type=click.IntRange(100, 10_000_000), default=20_000, help="a sample")
@click.option("--rest", type=click.FloatRange(0, 60), default=5, help="seconds; of the group rest")
@click.option("--flood", "floods", type=click.Choice(list(FLOODS)), multiple=True, help="of floods")
@click.option("--peer", "peers", type=click.Choice([*NAMES, "none"]), multiple=True)
@click.option("--environment", type=click.Path(path_type=Path), help="of the peers from PyPI, kept")
@click.option("--output", type=click.Path(path_type=Path), default=LATEST, help="joined there")
def main(
    names: tuple[str, ...],
    rounds: int,
    requests: int,
    rest: float,
    floods: tuple[str, ...],
    peers: tuple[str, ...],
    environment: Path | None,
    output: Path,
) -> None:
    """Measure one hop through the gateway beside nginx, Envoy and a Python stack.

    Each --group names one to measure: the usual ones if none is named, also the long ones with
    `all`. Each --peer names one to compare with; all if none is named, and none for Crewgate alone.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    reason = load.missing()
    if reason:
        click.echo(f"bench: nothing measured: {reason}", err=True)
        return
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    show_processor(console)
    asked = {NAMES[peer] for peer in peers or NAMES if peer in NAMES}
    with tempfile.TemporaryDirectory(prefix="crewgate-hop-") as name:
        folder = Path(name)
        place = (environment or folder / "peers").absolute()
        if asked & {ENVOY, STACK}:
            install(place)
        groups, done = chosen(names), []
        with standing(folder, place, asked) as arena:
            arena.rest_seconds, arena.floods = rest, floods
            for group in groups:
                measurement = attempt(group, arena, rounds, requests)
                if measurement is not None:
                    report.show(measurement, console)
                    report.join(output, measurement)
                    done.append(measurement)
    report.show_goals(done, console)
    if len(done) < len(groups):
        sys.exit(1)


def chosen(names: Sequence[str]) -> list[Group]:
    """The groups of a run."""
    if not names:
        return [group for group in GROUPS.values() if group.usual]
    return [group for name, group in GROUPS.items() if name in names or "all" in names]


def attempt(group: Group, arena: Arena, rounds: int, requests: int) -> report.Measurement | None:
    """Measure a group; None, with its reason shown, if it has no figures."""
    try:
        return measure(group, arena, rounds, requests)
    except SystemExit as reason:
        if isinstance(reason.code, int):  # we are told to end
            raise
        click.echo(f"Without {group.name}: {reason.code}", err=True)
        return None


def measure(group: Group, arena: Arena, rounds: int, requests: int) -> report.Measurement:
    """One group."""
    arena.begin(*group.sizes(rounds, requests))
    results = group.measure(arena)
    skipped = {**arena.skipped, **arena.left_out}
    return report.Measurement(
        group, arena.rounds, arena.requests, results, dict(arena.versions), skipped
    )


if __name__ == "__main__":
    main()
