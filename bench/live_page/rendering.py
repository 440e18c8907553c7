"""`python -m bench.live_page.rendering`: the live page with many branches, in Chromium.

It measures from a reload to the first rows on the screen and to all branches, and then the longest
frame and the longest task while rows change each second. The server is that of the tests: it sends
made-up branches, as the real one does. Needs Debian's `chromium`, and the extra `dev`.
"""

import importlib
import statistics
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import click
from playwright.sync_api import Page
from rich.console import Console

from bench.__main__ import LATEST, WIDTH, announce
from bench.report import headed, join, show_processor

SUPPORT = Path(__file__).parents[2] / "tests" / "support"
# Runs before the page: notes when rows are first drawn, each long task, and each gap of frames.
WATCH = """
window.seen = { first: 0, all: 0, tasks: [], frames: [] };
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) window.seen.tasks.push(entry.duration);
}).observe({ type: "longtask", buffered: true });
let last = performance.now();
requestAnimationFrame(function frame(now) {
  window.seen.frames.push(now - last);
  last = now;
  if (!window.seen.first && document.querySelector(".row")) window.seen.first = now;
  const counts = document.querySelector(".counts")?.textContent ?? "";
  if (!window.seen.all && counts.includes(window.wanted)) window.seen.all = now;
  requestAnimationFrame(frame);
});
"""
CASES = {
    "a tenth of the rows changes, by name": (10, "tree"),
    "a tenth of the rows changes, by credits/min": (10, "rate"),
    "all rows change, by name": (1, "tree"),
    "all rows change, by credits/min": (1, "rate"),
}


class Load(NamedTuple):
    """Milliseconds from the start of a reload."""

    first_rows: float
    all_branches: float


class Frames(NamedTuple):
    """Milliseconds: the longest gap between two frames, and the longest task of the page.

    Chromium reports no task below 50 ms, so a shorter one counts as 0.
    """

    longest_frame: float
    longest_task: float


@contextmanager
def opened(branches: int) -> Iterator[tuple[Any, Page]]:
    """A server with so many branches, and a page that is logged in to it."""
    sys.path.insert(0, str(SUPPORT))
    server_module, examples, browsers = map(
        importlib.import_module, ("fake_page_server", "page_examples", "browsers")
    )
    server = server_module.FakePageServer(examples.many_rows(branches))
    with (
        server.running(),
        browsers.chromium() as browser,
        browsers.visitor(browser, server.url) as visit,
    ):
        visit.page.add_init_script(f"window.wanted = 'of {branches:,} branches';{WATCH}")
        visit.log_in()
        yield server, visit.page


def load(page: Page) -> Load:
    """Reload the page, and wait until it shows all branches."""
    page.reload()
    while not page.evaluate("window.seen.all"):
        page.wait_for_timeout(20)
    seen: Mapping[str, float] = page.evaluate("window.seen")
    return Load(seen["first"], seen["all"])


def frames(
    server: Any,  # noqa: ANN401 - the tests have its type
    page: Page,
    seconds: int,
    part: int,
    order: str,
) -> Frames:
    """Change one of `part` rows each second."""
    page.locator(f"[data-order={order}]").click()
    page.mouse.move(600, 5)  # away from the list, which waits while a person points at it
    page.evaluate("document.activeElement.blur()")
    page.evaluate("window.seen.tasks = []; window.seen.frames = [];")
    numbers = [n for n, row in server.rows.items() if row["branch"]]
    for second in range(seconds):
        server.change_many(
            [
                {"n": n, "spent": 1_000 * n + second, "spent_rate": (n * 7_919 + second) % 10**6}
                for n in numbers[second % part :: part]
            ]
        )
        page.wait_for_timeout(1_000)
    seen: Mapping[str, list[float]] = page.evaluate("window.seen")
    return Frames(max(seen["frames"]), max(seen["tasks"], default=0.0))


@click.command()
@click.option("--branches", type=click.IntRange(100, 50_000), default=10_000)
@click.option("--seconds", type=click.IntRange(1, 600), default=10, help="of each case")
@click.option("--loads", type=click.IntRange(1, 100), default=5, help="reloads")
@click.option("--output", type=click.Path(path_type=Path), default=LATEST, help="the JSON document")
def main(branches: int, seconds: int, loads: int, output: Path) -> None:
    """Measure how soon the live page shows its branches, and how smoothly it changes them."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    show_processor(console)
    with opened(branches) as (server, page):
        announce(console, "reloads")
        found = [load(page) for _ in range(loads)]
        cases = {}
        for name, (part, order) in CASES.items():
            announce(console, name)
            cases[name] = frames(server, page, seconds, part, order)
    table = headed(f"The page with {branches:,} branches", ("median, ms", "most, ms"))
    for field, name in (("first_rows", "the first rows"), ("all_branches", "all branches")):
        values = [getattr(each, field) for each in found]
        table.add_row(name, f"{statistics.median(values):.0f}", f"{max(values):.0f}")
    console.print(table)
    table = headed("While rows change each second", ("longest frame, ms", "longest task, ms"))
    for name, each in cases.items():
        table.add_row(name, f"{each.longest_frame:.0f}", f"{each.longest_task:.0f}")
    console.print(table)
    document = {
        "branches": branches,
        "loads_milliseconds": [each._asdict() for each in found],
        "frames_milliseconds": {name: each._asdict() for name, each in cases.items()},
    }
    join(output, {"live_page_rendering": document})


if __name__ == "__main__":
    main()
