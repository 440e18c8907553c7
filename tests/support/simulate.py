"""`make simulate`: how long the last machine takes to hear, and a thousand worlds in upheaval.

Virtual time: the figures are of the protocol and of the network that is assumed, not of this
machine. A world that does not end as it must is named by its seed, and status 1 is the answer.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import click
from gossip_faults import all_equal, keys, upheaval
from gossip_world import Network
from last_member import latencies
from rich.console import Console
from rich.table import Table

PNG = Path("build") / "simulate.png"
PART = 200  # revocations of one world, before another one is begun
PAUSE = 0.05  # seconds between two of them
BAD_EVERY = 50  # every so manieth machine loses half of its datagrams
SHARES = (0.5, 0.99, 0.999, 1.0)
WAN_SECONDS = 0.03
LAN_SECONDS = 0.0005


def network(count: int, loss: float, delay: float) -> Network:
    """As the goals assume it: independent loss, some bad machines, bursts of 20 ms."""
    bad = frozenset(range(0, count, BAD_EVERY)) if count >= BAD_EVERY and loss else frozenset()
    return Network(delay=delay, loss=loss, bad=bad, burst_every=5.0 if loss else 0.0, burst=0.02)


def part(count: int, loss: float, delay: float, entries: int, seed: int) -> list[float]:
    """Seconds until the last machine heard, for some revocations of one world."""
    origins = {"origin_peers": count} if delay >= WAN_SECONDS else {}
    return latencies(
        network(count, loss, delay), count, seed, PART // entries, PAUSE, entries=entries, **origins
    )


def measure(
    pool: ProcessPoolExecutor, count: int, loss: float, delay: float, number: int, entries: int
) -> list[float]:
    """All of them, sorted."""
    worlds = max(1, number // PART)
    work = partial(part, count, loss, delay, entries)
    return sorted(each for found in pool.map(work, range(worlds)) for each in found)


def share(found: Sequence[float], of: float) -> float:
    """A quantile, in milliseconds."""
    return 1000 * found[min(len(found) - 1, int(len(found) * of))]


def ends_well(seed: int) -> bool:
    """Whether a world in upheaval ends with all machines equal, and with nothing made up."""
    world, revoked = upheaval(seed)
    return all_equal(world) and keys(world, 0) <= revoked


def failing(pool: ProcessPoolExecutor, worlds: int) -> Iterator[int]:
    """The seeds of those that do not."""
    return (seed for seed, well in enumerate(pool.map(ends_well, range(worlds))) if not well)


def plot(rows: list[tuple[int, float, list[float]]], file: Path) -> None:
    """Time to the last machine against how many there are, a line for each loss and share."""
    # It is large, and a test of the gossip draws nothing.
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(8, 5))
    axes = figure.subplots()
    for loss in sorted({loss for _, loss, _ in rows}):
        points = [(count, found) for count, of, found in rows if of == loss]
        for of, style in ((0.5, ":"), (0.999, "-")):
            axes.plot(
                [count for count, _ in points],
                [share(found, of) for _, found in points],
                style,
                marker="o",
                label=f"{loss:.0%} lost, {of:.1%} of revocations",
            )
    axes.set(xscale="log", xlabel="machines", ylabel="ms until the last one has heard")
    axes.axhline(200, color="grey", linewidth=0.8)
    axes.legend()
    file.parent.mkdir(exist_ok=True)
    figure.savefig(file, dpi=120)


@click.command()
@click.option("--machines", type=int, multiple=True, default=(3, 10, 100, 1000), show_default=True)
@click.option("--loss", type=float, multiple=True, default=(0.0, 0.2), show_default=True)
@click.option("--revocations", type=int, default=2000, show_default=True, help="of each row")
@click.option("--batch", type=int, default=1, show_default=True, help="revoked at once")
@click.option("--wan", is_flag=True, help="30 ms one way; an origin tells all others itself")
@click.option("--worlds", type=int, default=1000, show_default=True, help="in upheaval")
@click.option("--png", type=click.Path(path_type=Path), default=PNG)
def main(
    *,
    machines: tuple[int, ...],
    loss: tuple[float, ...],
    revocations: int,
    batch: int,
    wan: bool,
    worlds: int,
    png: Path,
) -> None:
    """Simulate the gossip at length."""
    console = Console()
    table = Table("machines", "lost", "revocations", "p50", "p99", "p99.9", "max", box=None)
    rows = []
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for count in machines:
            for each in loss:
                delay = WAN_SECONDS if wan else LAN_SECONDS
                found = measure(pool, count, each, delay, revocations, batch)
                rows.append((count, each, found))
                cells = [f"{share(found, of):.1f} ms" for of in SHARES]
                table.add_row(str(count), f"{each:.0%}", str(len(found)), *cells)
        if rows:
            console.print(table)
            plot(rows, png)
            console.print(f"drawn in {png}")
        failed = list(failing(pool, worlds))
    console.print(f"{worlds} worlds in upheaval, {len(failed)} did not end as they must")
    for seed in failed:
        console.print(f"seed {seed}: gossip_upheaval.upheaval({seed})")
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
