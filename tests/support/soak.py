"""`make soak`: a whole gateway under mixed load and upheaval, its books balanced at quiet points.

`python soak.py [--seconds N] [--seed N] [--folder NEW]`. Load and upheaval go on period by period;
between two everything rests, is measured and balanced. Says at the end what happened, and ends with
status 1 if anything was wrong. The gateway is driven by what is public: sockets, command, files,
signals.
"""

import argparse
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from itertools import cycle
from pathlib import Path

import trio
from soak_chaos import Upheaval
from soak_counting import Books
from soak_errors import Faults
from soak_http import Trust
from soak_judging import Judge
from soak_load import Load
from soak_measuring import HEADING, Sample, descriptors, judge, measure, processes
from soak_population import BRANCHES, Population
from soak_roles import parts
from soak_site import SoakSite
from soak_waiting import until

SECONDS = 1800.0
PERIODS = 12
PERIOD_SECONDS = 5.0  # at least
QUIET_SECONDS = 20.0  # until nothing is held any more
# The supervisor reports over a connection, and makes another one if a busy agent was too slow: at
# the first quiet point it may have had none.
BETWEEN = {"agent": 1}
AGAIN_SHARE = 0.1  # calls asked to come again, of all; on a machine that keeps up, 0.002


class Soak:
    """One soak of a served site."""

    def __init__(self, site: SoakSite, seed: int) -> None:
        choose = random.Random(seed)
        self.seed = seed
        self.faults = Faults()
        self.samples: list[Sample] = []
        self.site = site
        self.population = Population(site, choose)
        self.books = Books(site, self.faults)
        self.judge = Judge(self.books, self.faults)
        trust = Trust(site.folder / "certs" / "ca.pem", site.port)
        self.load = Load(trust, self.population, self.judge, self.faults, choose)
        self.upheaval = Upheaval(site, self.population, self.judge, self.faults, choose)
        self.loaded_seconds = 0.0

    async def run(self, seconds: float) -> None:
        """Load and rest for about so long."""
        end = time.monotonic() + seconds
        period = max(PERIOD_SECONDS, seconds / PERIODS)
        await self.population.end_one()
        await trio.sleep(self.population.stale_in)
        before = await self.rest({})
        for still in cycle([False, True]):
            began = time.monotonic()
            callers = [part for part in parts() if not (still and part.mints)]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(self.upheaval.period, period, still=still))
                nursery.start_soon(self.load.period, callers, period)
            self.loaded_seconds += time.monotonic() - began
            await self.rest(before, still=still)
            self._show()
            if still and time.monotonic() + period > end:
                return

    def _show(self) -> None:
        say(f"quiet point after {self.loaded_seconds:.0f} s of load")
        say(HEADING)
        for sample in self.samples[-3:]:
            say(str(sample))

    async def rest(self, before: dict[str, int], *, still: bool = False) -> dict[str, int]:
        """Wait until nothing is held, measure and balance; descriptors by process, at rest."""
        with trio.move_on_after(QUIET_SECONDS) as waiting:
            await until(lambda: self._is_quiet(before), 0.2)
        if waiting.cancelled_caught:
            held = self.site.status().counts["reservations"]
            now = {name: descriptors(pid) for name, pid in processes(self.site).items()}
            if held:
                self.faults.add("calls held by nobody", f"{held} reservations")
            self.faults.add("not quiet", f"{held} reservations, descriptors {before} -> {now}")
        self.books.balance()
        reached = self.books.counts["requests that reached a tool"]
        grants = self.population.minted + BRANCHES * self.upheaval.reloads
        self.samples += await measure(self.site, still=still, grants=grants, requests=reached)
        return {name: descriptors(pid) for name, pid in processes(self.site).items()}

    def _is_quiet(self, before: dict[str, int]) -> bool:
        if self.site.status().counts["reservations"]:
            return False
        now = processes(self.site)
        return all(
            descriptors(now[name]) <= count + BETWEEN.get(name, 0) for name, count in before.items()
        )

    def conclude(self) -> None:
        """Judge what only the end can tell; the gateway has ended."""
        self.books.read_refusals()
        judge(self.samples, self.faults)
        total = sum(count.total() for count in self.judge.counts.values())
        if self.judge.again > AGAIN_SHARE * total:
            self.faults.add("too many calls were asked to come again", f"{self.judge.again}")

    def summary(self) -> str:
        """What happened, for a person."""
        outcomes: Counter[str] = Counter()
        for counts in self.judge.counts.values():
            outcomes += counts
        lines = [
            "",
            f"Soaked for {self.loaded_seconds:.0f} s of load; seed {self.seed}",
            *self._pace(outcomes.total()),
            "What clients saw",
            *(f"  {count:9} {outcome}" for outcome, count in outcomes.most_common()),
            f"  {self.judge.excused:9} of the torn ones by the death of a worker",
            "What was done meanwhile",
            *(f"  {count:9} {what}" for what, count in sorted(self.upheaval.counts.items())),
            "What the books say",
            *(f"  {count:9} {what}" for what, count in sorted(self.books.counts.items())),
            f"  {self.books.refused.total():9} refusals summed up, of strangers' calls",
            "What the processes held at quiet points",
            f"  {HEADING}",
            *(f"  {sample}" for sample in sorted(self.samples, key=lambda each: each.name)),
            "FAULTS" if self.faults else "Nothing leaked, and every count agrees.",
            *(f"  {line}" for line in self.faults.lines()),
        ]
        return "\n".join(lines)

    def _pace(self, total: int) -> tuple[str, str]:
        """How much there was of it, and how long a plain call took."""
        plain = sorted(self.judge.plain_seconds)
        a_second = total / self.loaded_seconds
        connections = self.load.connections
        middle, high, most = statistics.median(plain), plain[int(len(plain) * 0.99)], plain[-1]
        return (
            f"  {total} calls, {a_second:.0f} a second, on {connections} connections",
            f"  plain: p50 {middle * 1e3:.1f}, p99 {high * 1e3:.1f}, {most * 1e3:.0f} ms at most",
        )


def soak(folder: Path, seconds: float, seed: int) -> Soak:
    """Serve, soak and end a gateway in `folder`."""
    site = SoakSite(folder)
    try:
        site.serve()
        found = Soak(site, seed)
        trio.run(found.run, seconds)
        status = site.stop()
        if status:
            found.faults.add("the gateway's exit status", str(status))
        found.conclude()
        return found
    finally:
        site.end()


def say(text: str) -> None:
    """A line for whoever watches."""
    print(text, flush=True)


def main() -> int:
    """Soak as the command line says; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = float(os.environ.get("CREWGATE_SOAK_SECONDS", SECONDS))
    parser.add_argument("--seconds", type=float, default=default)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--folder", type=Path, help="a new folder, which is kept")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # nobody is left behind
    with tempfile.TemporaryDirectory(prefix="crewgate-soak-") as folder:
        found = soak(asked.folder or Path(folder), asked.seconds, asked.seed)
    say(found.summary())
    return 1 if found.faults else 0


if __name__ == "__main__":
    sys.exit(main())
