"""The story, played: an orchestrator, five sub-agents, a loop, and one revocation.

Scripts what the crew does, never what comes of it: every number is taken from the gateway's
answers, the receipt of the revocation, the tool server's list and the audit files.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import msgspec
import trio

from crewgate import limits
from crewgate.audit.reader import CallRow
from crewgate.demo.agents import EMBEDDINGS, AgentEvent, DemoAgent, client
from crewgate.demo.stage import DemoStage, end
from crewgate.demo.tools import ReceivedCall
from crewgate.errors import DemoError
from crewgate.issuer import Orchestrator, SubAgent
from crewgate.issuer.httpx_auth import TokenAuth

CREW = "article"
ORCHESTRATOR = "orchestrator"
RUN_TOOLS = ["search.web", "embeddings.create", "publish.post", "summary.stream"]
RUN_CREDITS = "10.00"
_TOO_FEW = 3  # exit status of `revoke`: its receipt names fewer machines than it was asked for


class AgentRole(msgspec.Struct, frozen=True):
    """A role in the story: what it may use and what it may spend."""

    role: str
    tools: list[str]
    credits: str


RESEARCHER = AgentRole("researcher", ["search.web"], "2.50")
DRAFTER = AgentRole("drafter", ["embeddings.create"], "1.50")
FACT_CHECKER = AgentRole("fact-checker", ["summary.stream", "search.web"], "1.50")
STYLE_REVIEWER = AgentRole("style-reviewer", ["embeddings.create"], "1.50")
PUBLISHER = AgentRole("publisher", ["publish.post"], "1.50")
CAST = (RESEARCHER, DRAFTER, FACT_CHECKER, STYLE_REVIEWER, PUBLISHER)
ROLES = (ORCHESTRATOR, *(part.role for part in CAST))


class RevokeOutput(msgspec.Struct, frozen=True):
    """What `crewgate revoke --json` says, as far as the story needs it.

    `ms` from the reading of the request it was on the disks of so many machines `of` all.
    """

    branch: str
    read_ns: int
    streams_cut: int
    cut_ms: float
    applied_on: int = 1
    of: int = 1
    ms: float = 0.0


class ObservedRevocation(msgspec.Struct, frozen=True):
    """The revocation: its receipt, how long the command took, and when the agent read it."""

    receipt: RevokeOutput
    command_ms: float
    time: datetime


class Observations(msgspec.Struct, frozen=True):
    """All that was observed: what each role said in order, and what the gateway wrote down."""

    branches: dict[str, str]  # of each role
    said: dict[str, list[AgentEvent]]
    revoked: ObservedRevocation
    received: list[ReceivedCall]
    seconds: float
    calls: list[CallRow] = []


OnAgentEvent = Callable[[str, AgentEvent], None]


class Milestones:
    """What the story waits for: all agents ready, so that they begin at once; then a stream."""

    def __init__(self, roles: Iterable[str]) -> None:
        self._missing = set(roles)
        self.begin = trio.Event()
        self.streaming = trio.Event()

    def notice(self, role: str, one: AgentEvent) -> None:
        """Take what an agent said as the cue that it may be."""
        if one.what == "opened":
            self.streaming.set()
        if one.what == "ready":
            self._missing.discard(role)
            if not self._missing:
                self.begin.set()


async def play(stage: DemoStage, hear: OnAgentEvent, meanwhile: Callable[[], None]) -> Observations:
    """Play the story on a running stage; `hear` is told everything as it is said.

    `meanwhile` is called when all that is timed is over, and the siblings still work.
    """
    start = time.monotonic()
    said: dict[str, list[AgentEvent]] = {role: [] for role in ROLES}
    cues = Milestones(part.role for part in CAST)

    def note(role: str, one: AgentEvent) -> None:
        cues.notice(role, one)
        if one.what != "ready":
            said[role].append(one)
            hear(role, one)

    with Orchestrator.from_config(stage.config, crew=CREW) as article:
        run = article.start_run(credits=RUN_CREDITS, tools=RUN_TOOLS)
        crew = {part.role: _spawn(article, run, part, stage) for part in CAST}
        with trio.move_on_after(limits.demo_story_seconds) as scope:
            async with trio.open_nursery() as nursery:
                for role in crew:
                    nursery.start_soon(_sub_agent, stage, role, note, cues.begin)
                await cues.begin.wait()
                nursery.start_soon(_orchestrate, stage, run, note)
                await cues.streaming.wait()
                await trio.sleep(limits.demo_listen_seconds)
                revoked = await revoke(stage, crew[FACT_CHECKER.role].branch)
                meanwhile()
    if scope.cancelled_caught:
        raise DemoError(f"the story was not over after {limits.demo_story_seconds:g} s")
    branches = {role: agent.branch for role, agent in crew.items()} | {ORCHESTRATOR: run.branch}
    return Observations(branches, said, revoked, await stage.received(), time.monotonic() - start)


async def ask_audit(stage: DemoStage) -> list[CallRow]:
    """All that a gateway wrote down; it need not run any more."""
    answer = await stage.command("audit", "--json", "--limit", str(limits.audit_rows_max))
    return msgspec.convert(msgspec.json.decode(answer)["calls"], list[CallRow])


def _spawn(article: Orchestrator, run: SubAgent, part: AgentRole, stage: DemoStage) -> SubAgent:
    return article.spawn(
        role=part.role,
        parent=run,
        tools=part.tools,
        credits=part.credits,
        token_file=stage.folder / f"{part.role}.token",
    )


async def _sub_agent(stage: DemoStage, role: str, note: OnAgentEvent, begin: trio.Event) -> None:
    """One sub-agent's process, from its start to its end; what it says goes to `note`."""
    options = ["--url", stage.url, "--ca", str(stage.ca)]
    options += ["--token-file", str(stage.folder / f"{role}.token")]
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "crewgate.demo.agents", role, *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        process_group=0,
    )
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cue, process, begin)
            await _listen(process, role, note)
            nursery.cancel_scope.cancel()
        if await process.wait():
            raise DemoError(f"the {role} ended with status {process.returncode}")
    finally:
        if process.returncode is None:
            with trio.CancelScope(shield=True):
                await end(process)


async def _cue(process: trio.Process, begin: trio.Event) -> None:
    await begin.wait()
    if process.stdin is not None:
        # One that has died says so by its exit status.
        with suppress(trio.BrokenResourceError):
            await process.stdin.send_all(b"\n")


async def _listen(process: trio.Process, role: str, note: OnAgentEvent) -> None:
    decoder = msgspec.json.Decoder(AgentEvent)
    rest = b""
    if process.stdout is None:
        return
    async for chunk in process.stdout:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            note(role, decoder.decode(line))


async def _orchestrate(stage: DemoStage, run: SubAgent, note: OnAgentEvent) -> None:
    """The orchestrator's own calls, on the run's own token, all through the story."""
    async with client(stage.url, stage.ca, TokenAuth(run)) as http:
        agent = DemoAgent(http, lambda one: note(ORCHESTRATOR, one))
        for number in range(limits.demo_sibling_calls):
            await agent.call(EMBEDDINGS, {"input": f"plan {number}"})
            await trio.sleep(limits.demo_pace_seconds)


async def revoke(stage: DemoStage, branch: str, *options: str) -> ObservedRevocation:
    """Revoke a branch as a person would; also if fewer machines than asked for have it yet."""
    wall, start = datetime.now(UTC), time.monotonic_ns()
    answer = await stage.command("revoke", branch, *options, "--json", good=(0, _TOO_FEW))
    command_ms = (time.monotonic_ns() - start) / 1e6
    receipt = msgspec.json.decode(answer, type=RevokeOutput)
    read = wall + timedelta(microseconds=(receipt.read_ns - start) / 1000)
    return ObservedRevocation(receipt, command_ms, read)
