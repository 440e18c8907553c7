"""Workers, agent and embedders killed and stopped under load: service goes on, nothing is lost.

Compiled code carries the calls of every other agent, and Python the rest (straight-path.md).
"""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path
from urllib.request import urlopen

import httpx
import pytest
import trio
from installation import IS_STRAIGHT, Installation, installed
from search_depth import deep

from crewgate.issuer import SubAgent

SECONDS = deep(8)
CREDITS, BRANCHES = 100, 6
EMBEDDER = Path(__file__).parents[2] / "support" / "embedder.py"

pytestmark = [
    pytest.mark.filterwarnings(
        "ignore:Async generator 'httpx:ResourceWarning",
        "ignore::pytest.PytestUnraisableExceptionWarning",
    ),
    pytest.mark.timeout(SECONDS * 4 + 120),
]


class Storm:
    """The load, the chaos, and what was seen."""

    def __init__(self, site: Installation, seed: int) -> None:
        self.site = site
        self.choose = random.Random(seed)
        article = site.orchestrator()
        run = article.start_run(credits="1000", tools=["search.*"])
        self.agents = [
            article.spawn(role="caller", parent=run, tools=["search.web"], credits=str(CREDITS))
            for _ in range(BRANCHES)
        ]
        self.embedded = article.spawn(
            role="embedder", parent=run, tools=["search.web"], credits=str(CREDITS)
        )
        self.answers: dict[str, Counter[int]] = {a.branch: Counter() for a in self.agents}
        self.revoked: list[tuple[SubAgent, float]] = []
        self.done: Counter[str] = Counter()
        self.letters = b""
        self.embedder = self.start_embedder()
        self.last_answer = time.monotonic()
        self.longest_silence = 0.0
        self.over = False
        self.calls = 0

    def start_embedder(self) -> "subprocess.Popen[bytes]":
        embedder = subprocess.Popen(
            [
                sys.executable,
                str(EMBEDDER),
                str(self.site.file),
                self.embedded.token(),
                "search.web",
            ],
            stdout=subprocess.PIPE,
        )
        assert embedder.stdout is not None
        os.set_blocking(embedder.stdout.fileno(), False)
        return embedder

    def end_embedder(self) -> None:
        self.embedder.kill()
        self.embedder.wait()
        assert self.embedder.stdout is not None
        self.letters += self.embedder.stdout.read() or b""
        self.embedder.stdout.close()

    async def call(self, agent: SubAgent, token: str, *, http2: bool) -> None:
        """Calls on one connection after another, as a client that never gives up makes them."""
        while not self.over:
            async with self.site.client(http2=http2) as client:
                client.timeout = httpx.Timeout(2.0)
                try:
                    while not self.over:
                        answer = await client.post(
                            "/search",
                            json={"page": self.calls},  # an agent that makes progress
                            headers={"authorization": f"Bearer {token}"},
                        )
                        self.calls += 1
                        self.note(agent, answer.status_code)
                        await trio.sleep(0.02)
                except (httpx.HTTPError, OSError, trio.TrioInternalError):
                    self.note(agent, 0)
                    await trio.sleep(0.05)

    def note(self, agent: SubAgent, status: int) -> None:
        self.answers[agent.branch][status] += 1
        if status:
            now = time.monotonic()
            self.longest_silence = max(self.longest_silence, now - self.last_answer)
            self.last_answer = now

    async def rage(self) -> None:
        """Kill or stop something at a random moment, again and again."""
        until = time.monotonic() + SECONDS
        stopped = False
        while time.monotonic() < until:
            await trio.sleep(self.choose.uniform(0.3, 1.2))
            what = self.choose.choice(["worker", "agent", "embedder", "worker"])
            self.done[what] += 1
            if what == "embedder":
                self.end_embedder()
                self.embedder = self.start_embedder()
                continue
            processes = self.site.children("agent" if what == "agent" else "gateway")
            if processes:
                os.kill(self.choose.choice(processes), signal.SIGKILL)
            if not stopped and time.monotonic() > until - SECONDS * 0.6:
                stopped = True
                await self.stop_two()
            if len(self.revoked) < 2:
                await self.revoke()

    async def stop_two(self) -> None:
        """A worker and the embedder are stopped for a sixth of the time."""
        await trio.to_thread.run_sync(self.site.run, "status", "--wait", "100")
        worker = self.site.children("gateway")[0]
        os.kill(worker, signal.SIGSTOP)
        self.embedder.send_signal(signal.SIGSTOP)
        await trio.sleep(SECONDS / 6)
        os.kill(worker, signal.SIGCONT)
        self.embedder.send_signal(signal.SIGCONT)
        self.done["stopped"] += 1

    async def revoke(self) -> None:
        agent = self.agents[len(self.revoked)]
        try:
            await trio.to_thread.run_sync(self.site.run, "revoke", agent.branch)
        except AssertionError:
            return  # the agent was away just then: not acknowledged
        self.revoked.append((agent, time.monotonic()))

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            for number, agent in enumerate(self.agents):
                # No call over HTTP/1.1 is straight.
                call = partial(self.call, agent, agent.token(), http2=number % 2 == 0)
                nursery.start_soon(call)
            await self.rage()
            await trio.to_thread.run_sync(self.site.run, "status", "--wait", "100")
            self.over = True

    def straight_calls(self) -> int:
        """How many calls were straight from their begin to their end."""
        with urlopen(f"http://127.0.0.1:{self.site.port + 4}/metrics", timeout=30) as answer:
            text = answer.read().decode()
        found = re.findall(r'crewgate_straight_calls_total\{.*end="straight".*\} (\d+)', text)
        return sum(map(int, found))

    def charged(self) -> Counter[str]:
        """What the records of the audit charge each branch, in micro-credits."""
        sums: Counter[str] = Counter()
        for record in self.site.records():
            if record["kind"] in {"call", "burned"}:
                sums[record["branch"]] += record.get("cost_micro", 0)
        return sums


async def status_of(site: Installation, agent: SubAgent, token: str) -> int:
    async with site.client() as client:
        answer = await client.post("/search", headers={"authorization": f"Bearer {token}"})
        return answer.status_code


async def test_storm(tmp_path: Path) -> None:
    """After any kills: ready again, no budget passed, no revocation forgotten, others served."""
    seed = int(os.environ.get("CREWGATE_SEED", random.randrange(2**32)))
    with installed(tmp_path) as site:
        storm = Storm(site, seed)
        tokens = {agent.branch: agent.token() for agent in storm.agents}
        await storm.run()
        storm.end_embedder()
        where = f"CREWGATE_SEED={seed}, {dict(storm.done)}, {storm.answers}"
        tree = {line["branch"]: line for line in site.ask("tree")["branches"]}
        charged = storm.charged()
        for agent in [*storm.agents, storm.embedded]:
            standing = tree.get(agent.branch)
            if standing is None:  # it was killed each time before its first call
                assert agent is storm.embedded or not storm.answers[agent.branch][200], where
                continue
            used = standing["spent_micro"] + standing["burned_micro"]
            assert standing["reserved_micro"] == 0, (where, standing)
            assert used <= CREDITS * 1_000_000, (where, standing)
            # An embedder writes no audit.
            assert agent is storm.embedded or used == charged[agent.branch], (where, charged)
        for agent in storm.agents:
            paid = storm.answers[agent.branch][200] * 1_000_000
            assert paid <= charged[agent.branch], (where, charged)
        assert (storm.straight_calls() > 0) is IS_STRAIGHT, where
        assert storm.letters.count(b"P") <= CREDITS, where
        assert storm.letters.count(b"P") > 0, where
        assert storm.revoked, where
        for agent, _ in storm.revoked:
            assert await status_of(site, agent, tokens[agent.branch]) == 401, where
        newcomer = site.orchestrators[0].start_run(credits="5", tools=["search.*"])
        assert await status_of(site, newcomer, newcomer.token()) == 200, where
        assert storm.done["stopped"] == 1, where
        # Service went on for the others meanwhile: a bound that only a deadlock crosses.
        assert storm.longest_silence < SECONDS / 2 + 5, where
        assert site.stop() == 0, where
