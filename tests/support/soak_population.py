"""The branches that call in a soak: minted, presented, ended in flight and replaced.

Keeps when each was ended, so that what its calls saw can be judged.
"""

import math
import random
import time
from contextlib import suppress

import trio
from soak_site import SoakSite

from crewgate.errors import IssuerError
from crewgate.issuer import Orchestrator, SubAgent

BRANCHES = 16
BRIEF_SECONDS = 4  # the life of a token whose streams are to end by it
STALE_SECONDS = 7  # a token of one second is past its leeway then
NARROW = ["soak.call", "soak.page"]


class Branch:
    """One branch and its newest token; times are monotonic, infinite until they come."""

    def __init__(self, agent: SubAgent) -> None:
        self.agent = agent
        self.ending_at = math.inf  # from then on somebody is ending it
        self.ended_at = math.inf  # from then on nobody may be admitted
        self.ended_wall = math.inf  # the same, by the wall clock
        self.expires_at = math.inf  # of the token that was presented, if it is brief
        self._token = agent.token()

    @property
    def token(self) -> str:
        """A good token, or the last one that there will be."""
        with suppress(IssuerError):
            self._token = self.agent.token()
        return self._token


class Population:
    """All branches of a soak, under two runs."""

    def __init__(self, site: SoakSite, choose: random.Random) -> None:
        self._choose = choose
        self._article = site.orchestrator()
        self._brief = Orchestrator.from_config(
            site.file, crew="article", name="brief", lifetime=BRIEF_SECONDS
        )
        stale = Orchestrator.from_config(site.file, crew="article", name="stale", lifetime=1)
        site.orchestrators += [self._brief, stale]
        credit, tools = "100000000", ["soak.*"]
        self._run = self._article.start_run(credits=credit, tools=tools)
        self._brief_run = self._brief.start_run(credits=credit, tools=tools)
        self.stale = stale.start_run(credits="1", tools=tools).token()
        self._stale_at = time.monotonic() + STALE_SECONDS
        self.minted = 4
        self.narrow = self.spawn(tools=NARROW)
        self.dead: list[Branch] = []
        self.living = [self.spawn() for _ in range(BRANCHES)]

    def spawn(self, credit: str = "100000", tools: list[str] | None = None) -> Branch:
        """A new branch below the run; blocks for a question to the agent."""
        self.minted += 1
        agent = self._article.spawn(
            role="caller", parent=self._run, tools=tools or ["soak.*"], credits=credit
        )
        return Branch(agent)

    def spawn_brief(self) -> Branch:
        """A new branch whose token lives for seconds."""
        self.minted += 1
        branch = Branch(
            self._brief.spawn(
                role="brief", parent=self._brief_run, tools=["soak.*"], credits="1000"
            )
        )
        branch.expires_at = time.monotonic() + BRIEF_SECONDS
        return branch

    def any(self) -> Branch:
        """One that lives, as far as is known."""
        return self._choose.choice(self.living)

    @property
    def stale_in(self) -> float:
        """Seconds until the stale token is stale."""
        return max(0.0, self._stale_at - time.monotonic())

    async def end_one(self) -> None:
        """End a branch whose calls are in flight, and put another in its place."""
        branch = self.any()
        branch.ending_at = time.monotonic()
        await trio.to_thread.run_sync(branch.agent.revoke)
        branch.ended_at, branch.ended_wall = time.monotonic(), time.time()
        fresh = await trio.to_thread.run_sync(self.spawn)
        self.living[self.living.index(branch)] = fresh
        self.dead = [*self.dead[-3:], branch]
