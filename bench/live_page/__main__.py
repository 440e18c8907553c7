"""`python -m bench.live_page`: shows what the page costs, and adds it to the results."""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from os import getloadavg
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from bench.__main__ import LATEST, WIDTH, announce
from bench.hop.processes import cpu_seconds
from bench.live_page.browser import Browser
from bench.live_page.site import PATIENCE, TURN, Site, page, serving
from bench.report import Goal, goal_table, headed, join, machine, show_processor

SETTLE = 70.0  # seconds: rates are about ten, and the calls of a row are those of a minute
GOAL_PERCENT = 10.0
GOAL_BRANCHES = 10_000


@dataclass(frozen=True)
class Shares:
    """Of a core, while so many calls a second are made at each machine."""

    calls: int
    page_percent: float
    page_ms: float  # for each update of the tree
    agent_percent: float  # of each agent, above what it uses for the same calls without a page
    updates_per_second: float
    kilobytes_per_second: float


def measure(
    folder: Path, branches: int, calls: Sequence[int], seconds: float, settle: float
) -> list[Shares]:
    """Measure each rate of calls, first without a page and then with one browser."""
    with serving(folder, branches) as site:
        site.call(0, settle)
        alone = {rate: _agents(site, rate, seconds) for rate in calls}
        with page(site.machines[0]) as (process, url, code):
            browser, found = Browser(url, code), []
            for rate in calls:
                site.call(rate, settle)
                found.append(_watched(site, process, browser, rate, seconds, alone[rate]))
            return found


def _agents(site: Site, calls: int, seconds: float) -> float:
    """Return what each agent uses of a core for these calls, in percent."""
    before = cpu_seconds(site.agents)
    begun = time.monotonic()
    site.call(calls, seconds)
    used = (cpu_seconds(site.agents) - before) / (time.monotonic() - begun)
    return 100 * used / len(site.agents)


def _watched(
    site: Site, process: int, browser: Browser, calls: int, seconds: float, alone: float
) -> Shares:
    before, updates, size = cpu_seconds([process]), browser.updates, browser.bytes
    begun = time.monotonic()
    agents = _agents(site, calls, seconds)
    while browser.updates == updates:  # on a machine that is very busy
        if time.monotonic() > begun + seconds + PATIENCE:
            raise SystemExit(f"bench: the page sends nothing; {browser.trouble}")
        site.call(calls, TURN)
    lasted = time.monotonic() - begun
    used, updates = cpu_seconds([process]) - before, browser.updates - updates
    return Shares(
        calls,
        100 * used / lasted,
        1000 * used / updates,
        agents - alone,
        updates / lasted,
        (browser.bytes - size) / lasted / 1000,
    )


def document(found: list[Shares], branches: int) -> dict[str, Any]:
    """Return the member `live_page` of the results."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "branches": branches,
        "load_average": getloadavg()[0],
        "shares": [asdict(each) for each in found],
        "goals": [{**asdict(each), "met": each.met} for each in goals(found, branches)],
    }


def goals(found: list[Shares], branches: int) -> list[Goal]:
    """Return the goal of the page, which is about many branches."""
    if branches < GOAL_BRANCHES:
        return []
    return [
        Goal(f"the page, {each.calls:,} calls a second", GOAL_PERCENT, each.page_percent, "%")
        for each in found
    ]


@click.command()
@click.option("--branches", type=click.IntRange(1, 16_000), default=GOAL_BRANCHES, help="live")
@click.option("--calls", type=click.IntRange(0, 5000), multiple=True, default=(0, 100, 300))
@click.option("--seconds", type=click.FloatRange(1, 600), default=20, help="of each rate")
@click.option("--settle", type=click.FloatRange(0, 600), default=SETTLE, help="before each rate")
@click.option("--output", type=click.Path(path_type=Path), default=LATEST, help="joined there")
def main(
    branches: int, calls: tuple[int, ...], seconds: float, settle: float, output: Path
) -> None:
    """Measure the live page of one of three machines, each of which has seen all branches."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    show_processor(console)
    announce(console, f"{branches:,} branches")
    with tempfile.TemporaryDirectory(prefix="crewgate-") as name:
        found = measure(Path(name), branches, calls, seconds, settle)
    headings = ("page, %", "ms an update", "each agent, %", "updates a second", "kB a second")
    table = headed(f"The live page of {branches:,} branches on three machines", headings)
    for each in found:
        cells = (
            f"{each.page_percent:.1f}", f"{each.page_ms:.0f}", f"{each.agent_percent:.1f}",
            f"{each.updates_per_second:.2f}", f"{each.kilobytes_per_second:.0f}",
        )  # fmt: skip
        table.add_row(f"{each.calls:,} calls a second at each machine", *cells)
    console.print(table)
    if held := goals(found, branches):
        console.print(goal_table(held))
    join(output, {"live_page": document(found, branches)})


if __name__ == "__main__":
    main()
