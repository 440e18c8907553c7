"""The third act: a branch is revoked at one of three gateways, and ends at all of them.

The branch reads a stream at the second gateway and calls at the third; the first has never seen it.
The script says what the agents do, and never what the gateways answer.
"""

import math
from collections.abc import Callable
from functools import partial

import msgspec
import trio

from crewgate import limits
from crewgate.audit.query_results import CallRow
from crewgate.demo import story
from crewgate.demo.agents import EMBEDDINGS, SEARCH, SUMMARY, AgentEvent, DemoAgent, client
from crewgate.demo.gateway_process import DemoGatewaySpec
from crewgate.errors import DemoError
from crewgate.issuer import Orchestrator, ProofKey
from crewgate.issuer.httpx_auth import TokenAuth

CREDITS = "15.00"
TRANSLATOR = story.AgentRole("translator", ["summary.stream", "search.web"], "5.00")
EDITOR = story.AgentRole("editor", ["embeddings.create"], "5.00")
INDEXER = story.AgentRole("indexer", ["embeddings.create"], "5.00")
CAST = (TRANSLATOR, EDITOR, INDEXER)
SIBLINGS = (EDITOR.role, INDEXER.role)


class ClusterObservations(msgspec.Struct, frozen=True):
    """The observations of the act; `calls` are the audits of the second and the third gateway."""

    branches: dict[str, str]  # by role
    events: dict[str, list[AgentEvent]]  # by role
    revoked: story.TimedRevokeOutput
    machines: int
    calls: list[CallRow] = []


class ClusterActState:
    """The state of the act while it plays: the events so far, and what the script waits for."""

    def __init__(self, on_event: story.OnAgentEvent) -> None:
        self.events: dict[str, list[AgentEvent]] = {part.role: [] for part in CAST}
        # Set when each agent has a first answer, or its stream has ended.
        self.begun = trio.Event()
        self._has_receipt = False
        self._until = math.inf
        self._on_event = on_event
        self._missing = {("stream", TRANSLATOR.role), *(("call", part.role) for part in CAST)}

    def note(self, role: str, gateway: int, event: AgentEvent) -> None:
        """Keep an event of an agent at a gateway, and pass it on."""
        self.events[role].append(event)
        self._on_event(f"{role} at gateway {gateway}", event)
        self._missing.discard(("call" if event.what == "call" else "stream", role))
        if not self._missing:
            self.begun.set()

    def on_receipt(self) -> None:
        """Note that the receipt has come: the gateways must refuse every later call."""
        self._has_receipt = True
        self._until = trio.current_time() + limits.demo_after_seconds

    async def call(self, agent: DemoAgent, path: str) -> None:
        """Call a tool again and again, until a number of calls, or a time, after the receipt."""
        left = limits.demo_after_calls
        number = 0
        while left and trio.current_time() < self._until:
            left -= self._has_receipt
            number += 1
            await agent.call(path, {"input": f"paragraph {number}"})
            await trio.sleep(limits.demo_pace_seconds)


async def revoke_everywhere(
    stage: DemoGatewaySpec, on_event: story.OnAgentEvent, print_line: Callable[[str], None]
) -> ClusterObservations:
    """Play the act on three running gateways; DemoError if it does not end in time."""
    act = ClusterActState(on_event)
    with Orchestrator.from_config(stage.config, crew=story.CREW) as article:
        keys = {part.role: ProofKey.generate() for part in CAST}
        # The run itself calls no tool. So the key of its token is thrown away.
        unused = ProofKey.generate().binding
        run = article.start_run(credits=CREDITS, tools=story.RUN_TOOLS, binding=unused)
        crew = {part.role: story.spawn(article, run, part, keys[part.role]) for part in CAST}
        auths = {role: TokenAuth(agent, key=keys[role]) for role, agent in crew.items()}
        with trio.move_on_after(limits.demo_story_seconds) as scope:
            async with trio.open_nursery() as nursery:
                for role, gateway, path in (
                    (TRANSLATOR.role, 2, SUMMARY),
                    (TRANSLATOR.role, 3, SEARCH),
                    (EDITOR.role, 2, EMBEDDINGS),
                    (INDEXER.role, 3, EMBEDDINGS),
                ):
                    at = stage.further[gateway - 2]
                    note = partial(act.note, role, gateway)
                    nursery.start_soon(_work, act, at, auths[role], note, path)
                await act.begun.wait()
                await trio.sleep(limits.demo_listen_seconds)
                print_line("the translator's branch is revoked at gateway 1, which never saw it")
                branch = crew[TRANSLATOR.role].branch
                revoked = await story.revoke(stage, branch, "--crew", story.CREW, "--until", "all")
                print_line(receipt_of(revoked))
                act.on_receipt()
    if scope.cancelled_caught:
        raise DemoError(f"the third act had not ended after {limits.demo_story_seconds:g} s")
    branches = {role: agent.branch for role, agent in crew.items()}
    return ClusterObservations(branches, act.events, revoked, 1 + len(stage.further))


def receipt_of(revoked: story.TimedRevokeOutput) -> str:
    """Return a line about the machines that the receipt of a revocation counts."""
    receipt = revoked.receipt
    where = f"on the disks of {receipt.applied_on} of {receipt.of} machines"
    return f"the receipt: {where} after {receipt.ms:.1f} ms"


async def read_audits(stage: DemoGatewaySpec) -> tuple[list[CallRow], list[CallRow]]:
    """Return the audit of the first gateway, and that of the others; none of them need run."""
    found: dict[DemoGatewaySpec, list[CallRow]] = {}

    async def read(at: DemoGatewaySpec) -> None:
        found[at] = await story.read_audit(at)

    async with trio.open_nursery() as nursery:
        for at in (stage, *stage.further):
            nursery.start_soon(read, at)
    return found[stage], [row for at in stage.further for row in found[at]]


async def _work(
    act: ClusterActState,
    at: DemoGatewaySpec,
    auth: TokenAuth,
    note: Callable[[AgentEvent], None],
    path: str,
) -> None:
    async with client(at.url, at.ca, auth) as http:
        agent = DemoAgent(http, note)
        if path == SUMMARY:
            await agent.listen(path, {"of": "the translation"})
        else:
            await act.call(agent, path)
