"""`python -m bench.hop`: a request through Crewgate and through its peers, side by side."""

import signal
import sys
import tempfile
from pathlib import Path

import click
from rich.console import Console

from bench import report as suite
from bench.__main__ import LATEST, WIDTH
from bench.hop import load, report
from bench.hop.gateways import ENVOY, NGINX, STACK
from bench.hop.rounds import Run, install, measure

NAMES = {"nginx": NGINX, "envoy": ENVOY, "stack": STACK}


@click.command()
@click.option("--rounds", type=click.IntRange(1, 100), default=5, help="all gateways, all shapes")
@click.option("--requests", type=click.IntRange(100, 10_000_000), default=20_000, help="a sample")
@click.option("--peer", "peers", type=click.Choice([*NAMES, "none"]), multiple=True)
@click.option("--environment", type=click.Path(path_type=Path), help="of the peers from PyPI, kept")
@click.option("--output", type=click.Path(path_type=Path), default=LATEST, help="joined there")
def main(
    rounds: int, requests: int, peers: tuple[str, ...], environment: Path | None, output: Path
) -> None:
    """Measure one hop through the gateway beside nginx, Envoy and a Python stack.

    Each --peer names one to compare with; all if none is named, and none for Crewgate alone.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    reason = load.missing()
    if reason:
        click.echo(f"bench: nothing measured: {reason}", err=True)
        return
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    names = {NAMES[peer] for peer in peers or NAMES if peer in NAMES}
    run = Run(rounds, requests)
    with tempfile.TemporaryDirectory(prefix="crewgate-hop-") as name:
        folder = Path(name)
        place = (environment or folder / "peers").absolute()
        if names & {ENVOY, STACK}:
            install(place)
        measure(run, folder, place, names)
    report.show(run, console)
    suite.join(output, {"hop": report.document(run)})


if __name__ == "__main__":
    main()
