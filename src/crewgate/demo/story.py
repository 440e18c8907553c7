"""The first act: an orchestrator, six sub-agents, a retry loop, and one revocation.

The script says what the crew does, and never what comes of it. Every number comes from the
gateway's answers, the receipt of the revocation, the tool server's list and the audit files.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import trio

from crewgate import limits
from crewgate.audit.query_results import CallRow
from crewgate.demo.agents import (
    EMBEDDINGS,
    SEARCH,
    AgentEvent,
    DemoAgent,
    call_once,
    client,
    repeat,
)
from crewgate.demo.alerts import SignedAlert, end_of_branch
from crewgate.demo.gateway_process import DemoGatewaySpec, end
from crewgate.demo.tools import ReceivedCall
from crewgate.errors import DemoError
from crewgate.issuer import Orchestrator, ProofKey, SubAgent
from crewgate.issuer.httpx_auth import TokenAuth

CREW = "article"
ORCHESTRATOR = "orchestrator"
RUN_TOOLS = ["search.web", "embeddings.create", "publish.post", "summary.stream"]
RUN_CREDITS = "12.50"
# The exit status of `revoke` if fewer machines than asked for have the revocation so far.
_TOO_FEW = 3


class AgentRole(msgspec.Struct, frozen=True):
    """A role of the story, with its tools and its credits."""

    role: str
    tools: list[str]
    credits: str


RESEARCHER = AgentRole("researcher", ["search.web"], "2.50")
COLLECTOR = AgentRole("collector", ["search.web"], "2.50")
DRAFTER = AgentRole("drafter", ["embeddings.create"], "1.50")
FACT_CHECKER = AgentRole("fact-checker", ["summary.stream", "search.web"], "1.50")
STYLE_REVIEWER = AgentRole("style-reviewer", ["embeddings.create"], "1.50")
PUBLISHER = AgentRole("publisher", ["publish.post"], "1.50")
CAST = (RESEARCHER, COLLECTOR, DRAFTER, FACT_CHECKER, STYLE_REVIEWER, PUBLISHER)
ROLES = (ORCHESTRATOR, *(part.role for part in CAST))


class RevokeOutput(msgspec.Struct, frozen=True):
    """The part of the output of `crewgate revoke --json` that the story needs.

    `ms` after the agent read the request, the revocation was on the disks of `applied_on` machines.
    """

    read_ns: int
    cut_ms: float
    applied_on: int = 1
    of: int = 1
    ms: float = 0.0


class TimedRevokeOutput(msgspec.Struct, frozen=True):
    """A revocation: its receipt, how long the command took, and when the agent read the request."""

    receipt: RevokeOutput
    command_ms: float
    time: datetime


class CopiedToken(msgspec.Struct, frozen=True):
    """Calls with the researcher's token: without a proof, and with one of the copier's key."""

    alone: AgentEvent
    other_key: AgentEvent


class Observations(msgspec.Struct, frozen=True):
    """The observations of the act: the events of each role, in order, and the gateway's audit.

    `keys` has the keys of the roles, to which their tokens are bound.
    """

    branches: dict[str, str]  # by role
    events: dict[str, list[AgentEvent]]  # by role
    keys: dict[str, ProofKey]  # by role
    copied: CopiedToken
    revoked: TimedRevokeOutput
    received: list[ReceivedCall]
    seconds: float
    alert: SignedAlert | None
    calls: list[CallRow] = []


OnAgentEvent = Callable[[str, AgentEvent], None]


class StoryMilestones:
    """What the script waits for: all agents ready, so that they can begin at once; a stream."""

    def __init__(self, roles: Iterable[str]) -> None:
        self._missing = set(roles)
        self.ready = trio.Event()
        self.streaming = trio.Event()

    def on_event(self, role: str, event: AgentEvent) -> None:
        """Note an event that the script waits for."""
        if event.what == "opened":
            self.streaming.set()
        if event.what == "ready":
            self._missing.discard(role)
            if not self._missing:
                self.ready.set()


async def play(
    stage: DemoGatewaySpec,
    on_event: OnAgentEvent,
    print_line: Callable[[str], None],
    meanwhile: Callable[[], None],
) -> Observations:
    """Play the act on a running gateway; `on_event` gets each event as it comes.

    `meanwhile` is called when everything that is timed has ended, while the siblings still work.
    """
    start = time.monotonic()
    events: dict[str, list[AgentEvent]] = {role: [] for role in ROLES}
    milestones = StoryMilestones(part.role for part in CAST)

    def note(role: str, event: AgentEvent) -> None:
        milestones.on_event(role, event)
        if event.what != "ready":
            events[role].append(event)
            on_event(role, event)

    keys = {role: ProofKey.generate() for role in ROLES}
    with Orchestrator.from_config(stage.config, crew=CREW) as article:
        run = article.start_run(
            credits=RUN_CREDITS, tools=RUN_TOOLS, binding=keys[ORCHESTRATOR].binding
        )
        crew = {part.role: _hire(stage, article, run, part, keys[part.role]) for part in CAST}
        with trio.move_on_after(limits.demo_story_seconds) as scope:
            async with trio.open_nursery() as nursery:
                begin = trio.Event()
                for role in crew:
                    nursery.start_soon(_sub_agent, stage, role, note, begin)
                await milestones.ready.wait()
                print_line("the drafter copies the researcher's token from its file")
                copied = await _use_copy(stage, keys[DRAFTER.role])
                print_line(f"a call with the copied token is refused: {copied.alone.answer}")
                print_line(f"so is one with the drafter's own key: {copied.other_key.answer}")
                begin.set()
                auth = TokenAuth(run, key=keys[ORCHESTRATOR])
                nursery.start_soon(_orchestrate, stage, auth, note)
                alert = await _wait_for_alert(stage, crew[RESEARCHER.role].branch)
                if alert is not None:
                    sign = "good" if alert.is_signed else "bad"
                    print_line(f"an alert comes, with a {sign} signature: {alert.text}")
                await milestones.streaming.wait()
                await trio.sleep(limits.demo_listen_seconds)
                print_line(
                    "a person revokes the fact-checker's branch, in the middle of its stream"
                )
                revoked = await revoke(stage, crew[FACT_CHECKER.role].branch)
                meanwhile()
    if scope.cancelled_caught:
        raise DemoError(f"the first act had not ended after {limits.demo_story_seconds:g} s")
    branches = {role: agent.branch for role, agent in crew.items()} | {ORCHESTRATOR: run.branch}
    received, seconds = await stage.received(), time.monotonic() - start
    return Observations(branches, events, keys, copied, revoked, received, seconds, alert)


async def _wait_for_alert(stage: DemoGatewaySpec, branch: str) -> SignedAlert | None:
    """Wait for the alert that a rule has ended a branch; None if it does not come in time."""
    secret = stage.alert_secret.read_text().strip()
    found = None
    with trio.move_on_after(limits.demo_alert_seconds):
        while found is None:
            await trio.sleep(limits.demo_event_seconds)
            found = end_of_branch(await stage.alerts(), branch, secret)
    return found


async def read_audit(stage: DemoGatewaySpec) -> list[CallRow]:
    """Return the audit of a gateway, which need not run any more."""
    answer = await stage.command(
        "audit", "--local", "--json", "--limit", str(limits.audit_rows_max)
    )
    return msgspec.convert(msgspec.json.decode(answer)["calls"], list[CallRow])


def spawn(
    article: Orchestrator,
    run: SubAgent,
    part: AgentRole,
    key: ProofKey,
    token_file: Path | None = None,
) -> SubAgent:
    """Start the branch of a role below the run, with tokens that are bound to a key."""
    return article.spawn(
        parent=run, binding=key.binding, token_file=token_file, **msgspec.structs.asdict(part)
    )


def token_file(stage: DemoGatewaySpec, role: str) -> Path:
    """Return the file with the newest token of a role."""
    return stage.folder / f"{role}.token"


def _key_file(stage: DemoGatewaySpec, role: str) -> Path:
    return stage.folder / f"{role}.key"


def _hire(
    stage: DemoGatewaySpec, article: Orchestrator, run: SubAgent, part: AgentRole, key: ProofKey
) -> SubAgent:
    """Start the branch of a role, and write the files of its token and of its key."""
    key.write(_key_file(stage, part.role))
    return spawn(article, run, part, key, token_file(stage, part.role))


async def _use_copy(stage: DemoGatewaySpec, own: ProofKey) -> CopiedToken:
    """Call a tool with the token of the researcher, once alone and once with a proof of `own`."""
    copy = token_file(stage, RESEARCHER.role)
    body = {"query": "copied"}
    alone = await call_once(stage.url, stage.ca, TokenAuth(copy), SEARCH, body)
    shown = TokenAuth(copy, key=own)
    return CopiedToken(alone, await call_once(stage.url, stage.ca, shown, SEARCH, body))


async def _sub_agent(
    stage: DemoGatewaySpec, role: str, note: OnAgentEvent, begin: trio.Event
) -> None:
    """Run one sub-agent's process from its start to its end; `note` gets its events."""
    options = ["--url", stage.url, "--ca", str(stage.ca)]
    options += ["--token-file", str(token_file(stage, role))]
    options += ["--key-file", str(_key_file(stage, role))]
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "crewgate.demo.agents", role, *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        process_group=0,
    )
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_start_working, process, begin)
            await _listen(process, role, note)
            nursery.cancel_scope.cancel()
        if await process.wait():
            raise DemoError(f"the {role} ended with status {process.returncode}")
    finally:
        if process.returncode is None:
            with trio.CancelScope(shield=True):
                await end(process)


async def _start_working(process: trio.Process, begin: trio.Event) -> None:
    await begin.wait()
    if process.stdin is not None:
        # The exit status of a process that has ended says so.
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


async def _orchestrate(stage: DemoGatewaySpec, auth: TokenAuth, note: OnAgentEvent) -> None:
    """Make the orchestrator's own calls, with the token of the run, during the whole act."""
    async with client(stage.url, stage.ca, auth) as http:
        agent = DemoAgent(http, lambda event: note(ORCHESTRATOR, event))
        await repeat(agent, EMBEDDINGS, lambda number: {"input": f"plan {number}"})


async def revoke(stage: DemoGatewaySpec, branch: str, *options: str) -> TimedRevokeOutput:
    """Revoke a branch as a person would; exit status 3 is no error, because the receipt says it."""
    wall, start = datetime.now(UTC), time.monotonic_ns()
    answer = await stage.command("revoke", branch, *options, "--json", good=(0, _TOO_FEW))
    command_ms = (time.monotonic_ns() - start) / 1e6
    receipt = msgspec.json.decode(answer, type=RevokeOutput)
    read = wall + timedelta(microseconds=(receipt.read_ns - start) / 1000)
    return TimedRevokeOutput(receipt, command_ms, read)
