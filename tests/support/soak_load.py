"""The load of a soak: callers of every kind, each of whom goes on until the load is to rest.

Every call is bounded: one that outlasts the bound has hung, whatever else was going on.
"""

import math
import random
import time
from collections.abc import Sequence
from contextlib import suppress

import trio
from soak_connections import Reach
from soak_errors import Faults
from soak_http import Ask, Connection, Field, TornError, Trust
from soak_judging import Judge, Trip
from soak_kinds import Seen
from soak_population import Branch, Population
from soak_roles import Part
from soak_waiting import until

HUNG_SECONDS = 45.0  # no call waits so long for anything that happens here


class Errand:
    """One call of one caller; what a kind is given."""

    def __init__(self, load: "Load", part: Part, branch: Branch) -> None:
        self.population = load.population
        self.branch = branch
        self.connection: Connection | None = None
        self._load = load
        self._part = part
        self._began = time.monotonic()

    @property
    def over(self) -> bool:
        """The load is to end."""
        return self._load.over

    def below(self, bound: int) -> int:
        """A random number."""
        return self._load.choose.randrange(bound)

    async def ask(
        self,
        method: bytes,
        path: bytes,
        *,
        token: str | None = None,
        length: int | None = 0,
        fields: tuple[Field, ...] = (),
    ) -> Ask:
        """Send a head."""
        credential = self.branch.token if token is None else token
        more: Sequence[Field] = fields
        if credential:
            more = [(b"authorization", f"Bearer {credential}".encode()), *fields]
        assert self.connection is not None
        return await self.connection.ask(method, path, more, length)

    def note(self, found: Seen, detail: str = "") -> None:
        """Have what was seen judged."""
        now = time.monotonic()
        self._load.judge.look(self._part, found, Trip(self.branch, self._began, now, detail))
        self._began = now


class Load:
    """All callers. `period` after `period`; between them nothing of a caller is left."""

    def __init__(
        self,
        trust: Trust,
        population: Population,
        judge: Judge,
        faults: Faults,
        choose: random.Random,
    ) -> None:
        self.trust = trust
        self.population = population
        self.judge = judge
        self.choose = choose
        self.over = False
        self.connections = 0
        self._faults = faults

    async def period(self, parts: Sequence[Part], seconds: float) -> None:
        """Let everybody call for so long, and come to an end."""
        self.over = False
        async with trio.open_nursery() as readers:
            reach = Reach(self.trust, readers, self.choose)
            async with trio.open_nursery() as callers:
                for part in parts:
                    for _ in range(part.callers):
                        callers.start_soon(self._call, part, reach)
                await trio.sleep(seconds)
                self.over = True
            await reach.close()
            self.connections += reach.opened
            readers.cancel_scope.cancel()

    async def _call(self, part: Part, reach: Reach) -> None:
        """One caller's life."""
        await trio.sleep(self.choose.uniform(0, part.pause))
        while not self.over:
            with trio.move_on_after(math.inf if part.lasts else HUNG_SECONDS) as bound:
                await self._errand(part, reach)
            if bound.cancelled_caught:
                self._faults.add("a client that waited beyond its bound", part.name)
            await self._rest(self.choose.uniform(0.5, 1.5) * part.pause)

    async def _rest(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            await until(lambda: self.over, 0.5)

    async def _errand(self, part: Part, reach: Reach) -> None:
        population = self.population
        branch = (
            await trio.to_thread.run_sync(population.spawn_brief)
            if part.brief
            else population.any()
        )
        errand = Errand(self, part, branch)
        try:
            errand.connection = await reach.take(own=part.own)
            errand.note(await part.kind(errand))
        except TornError as error:
            errand.note(Seen("untouched" if error.untouched else "torn"), str(error))
        except trio.Cancelled:
            if errand.connection is not None:
                await errand.connection.close()  # without waiting: what hung is not to go on
            raise
        except Exception as error:  # noqa: BLE001 - an answer that no client understands
            self._faults.add(f"{part.name}: {type(error).__name__}", repr(error))
        finally:
            if errand.connection is not None:
                with trio.CancelScope(shield=True), suppress(TornError):
                    await reach.give_back(errand.connection)
