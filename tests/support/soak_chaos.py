"""What is done to a gateway and its tools while it is under load; each of these goes on for itself.

Knows what must be true after each blow: a killed worker is back, a reload is in force, and nobody
has taken up a configuration that is none.
"""

import os
import random
import signal
import ssl
import time
from collections import Counter
from collections.abc import Awaitable, Callable

import trio
from soak_errors import Faults
from soak_http import TornError, Trust
from soak_judging import Judge, Kill
from soak_measuring import processes
from soak_population import Population
from soak_site import SoakSite

from crewgate import limits

BACK_SECONDS = 30.0  # until a worker accepts again, or a reload is in force
SPARED = "worker 0"  # lives through it all, so that its memory can be followed
VICTIM = "worker 1"
Blow = Callable[[], Awaitable[None]]


class Upheaval:
    """Everything that happens beside the load."""

    def __init__(
        self,
        site: SoakSite,
        population: Population,
        judge: Judge,
        faults: Faults,
        choose: random.Random,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._site = site
        self._population = population
        self._judge = judge
        self._faults = faults
        self._choose = choose
        self._edition = 0
        self._trust = Trust(site.folder / "certs" / "ca.pem", site.port)
        self._administering = trio.Lock()  # one thing at a time to the gateway itself

    @property
    def reloads(self) -> int:
        """How often the configuration was written."""
        return sum(count for what, count in self.counts.items() if what.startswith("reloads"))

    async def period(self, seconds: float, *, still: bool = False) -> None:
        """Rage for so long; everything is whole again afterwards.

        A `still` period brings nothing that the gateway would have to remember.
        """
        end = trio.current_time() + seconds
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._again, end, (0.6, 3.0), self._end_tools)
            nursery.start_soon(self._again, end, (1.0, 4.0), self._stop_tools)
            nursery.start_soon(self._again, end, (1.5, 30.0), self._kill)
            if still:
                return
            nursery.start_soon(self._again, end, (0.4, 1.6), self._end_branch)
            nursery.start_soon(self._again, end, (1.0, 5.0), self._reload)

    async def _again(self, end: float, between: tuple[float, float], blow: Blow) -> None:
        """Strike again and again, with pauses; at least once however short the period is."""
        low, high = between
        most = (end - trio.current_time()) / 2
        while True:
            pause = self._choose.uniform(low, max(low, min(high, most)))
            if trio.current_time() + pause >= end:
                return
            await trio.sleep(pause)
            await blow()

    async def _end_tools(self) -> None:
        """A tool's server dies, or is shut down, and comes back."""
        tools = self._site.tools[self._choose.choice(["mortal", "twin", "plexed"])]
        how = self._choose.choice([signal.SIGKILL, signal.SIGTERM])
        await trio.to_thread.run_sync(tools.end, how)
        self.counts[f"a tool's server ended by {how.name}"] += 1
        await trio.sleep(self._choose.uniform(0.0, 1.0))
        await trio.to_thread.run_sync(tools.start)

    async def _stop_tools(self) -> None:
        """A tool's server hangs for a while."""
        tools = self._site.tools["hanging"]
        tools.strike(signal.SIGSTOP)
        await trio.sleep(self._choose.uniform(0.2, 2.0))
        tools.strike(signal.SIGCONT)
        self.counts["a tool's server stopped for a while"] += 1

    async def _end_branch(self) -> None:
        await self._population.end_one()
        self.counts["branches ended in flight"] += 1

    async def _kill(self) -> None:
        """A worker dies, unless one more death is what health would tell of."""
        async with self._administering:
            since = time.monotonic() - limits.health_deaths_seconds
            lately = sum(each.began > since for each in self._judge.kills)
            if lately + 1 >= limits.health_deaths_max:
                return
            pid = processes(self._site).get(VICTIM)
            if pid is None:
                self._faults.add("a worker that does not come back", VICTIM)
                return
            kill = Kill(time.monotonic())
            self._judge.kills.append(kill)
            os.kill(pid, signal.SIGKILL)
            self.counts["a worker killed"] += 1
            await self._await_ready("after the death of a worker")
            kill.ended = time.monotonic()

    async def _reload(self) -> None:
        """The configuration changes, or only the certificate, or it is spoiled for a while."""
        async with self._administering:
            what = self._choose.choice(["tools", "tools", "certificate", "nonsense"])
            before = self._site.status().policy_generation
            self.counts[f"reloads: {what}"] += 1
            if what == "nonsense":
                await self._spoil(before)
                return
            self._edition += what == "tools"
            self._site.write(self._edition)
            leaf = self._site.renew_certificate() if what == "certificate" else None
            if self._choose.random() < 0.5:
                self._site.hang_up()  # else the change is seen
            await self._await_ready("after a reload", beyond=before)
            if leaf is not None:
                await self._await_leaf(leaf)

    async def _spoil(self, before: int) -> None:
        self._site.spoil()
        self._site.hang_up()
        await trio.sleep(0.5)
        status = await trio.to_thread.run_sync(self._site.status)
        if status.policy_generation != before:
            self._faults.add("nonsense was taken up", str(status))
        self._site.write(self._edition)
        self._site.hang_up()
        await self._await_ready("after nonsense")

    async def _await_ready(self, when: str, *, beyond: int = -1) -> None:
        """Wait until all workers accept under a configuration later than `beyond`."""
        with trio.move_on_after(BACK_SECONDS):
            while True:
                await trio.sleep(0.1)
                status = await trio.to_thread.run_sync(self._site.status)
                if status.ready and status.policy_generation > beyond:
                    return
        self._faults.add("not ready again", f"{when}: {status.waiting_for}")

    async def _await_leaf(self, leaf: bytes) -> None:
        """Wait until new connections are shown the new certificate."""
        shown = b""
        with trio.move_on_after(BACK_SECONDS):
            while shown != leaf:
                await trio.sleep(0.1)
                try:
                    stream = await self._trust.connect("http/1.1")
                except TornError:
                    continue
                inside = stream._ssl_object  # trio has no public name for it
                assert isinstance(inside, ssl.SSLObject)
                shown = inside.getpeercert(binary_form=True) or b""
                await trio.aclose_forcefully(stream)
            return
        self._faults.add("an old certificate after a reload", "")
