"""The third act: three gateways, and a branch that is revoked at one of them and ends at all.

It listens to a stream at the second and calls at the third; the first never saw it. Scripts what
the agents do, never what comes of it.
"""

import math
from collections.abc import Callable
from functools import partial

import msgspec
import trio

from crewgate import limits
from crewgate.audit.reader import CallRow
from crewgate.demo.agents import EMBEDDINGS, SEARCH, SUMMARY, AgentEvent, DemoAgent, client
from crewgate.demo.stage import DemoStage
from crewgate.demo.story import CREW, RUN_TOOLS, AgentRole, ObservedRevocation, ask_audit, revoke
from crewgate.errors import DemoError
from crewgate.issuer import Orchestrator
from crewgate.issuer.httpx_auth import TokenAuth

CREDITS = "15.00"
TRANSLATOR = AgentRole("translator", ["summary.stream", "search.web"], "5.00")
EDITOR = AgentRole("editor", ["embeddings.create"], "5.00")
INDEXER = AgentRole("indexer", ["embeddings.create"], "5.00")
CAST = (TRANSLATOR, EDITOR, INDEXER)
SIBLINGS = (EDITOR.role, INDEXER.role)


class ClusterObservations(msgspec.Struct, frozen=True):
    """What was observed: what each said, and what the second and the third gateway wrote down."""

    branches: dict[str, str]  # of each role
    said: dict[str, list[AgentEvent]]
    revoked: ObservedRevocation
    machines: int  # that there are
    calls: list[CallRow] = []


OnAgentEvent = Callable[[str, AgentEvent], None]


class ClusterAct:
    """The act while it plays: what was said, and what is waited for."""

    def __init__(self, hear: OnAgentEvent) -> None:
        self.said: dict[str, list[AgentEvent]] = {part.role: [] for part in CAST}
        self.begun = trio.Event()  # everybody has heard of a gateway
        self._known = False  # the receipt is there
        self._until = math.inf
        self._hear = hear
        self._missing = {("stream", TRANSLATOR.role), *(("call", part.role) for part in CAST)}

    def note(self, role: str, gateway: int, one: AgentEvent) -> None:
        """Remember what an agent said of that gateway, and tell it."""
        self.said[role].append(one)
        self._hear(f"{role} at gateway {gateway}", one)
        self._missing.discard(("call" if one.what == "call" else "stream", role))
        if not self._missing:
            self.begun.set()

    def learn(self) -> None:
        """The receipt is there: what is called from now on is refused, or should not have been."""
        self._known = True
        self._until = trio.current_time() + limits.demo_after_seconds

    async def call(self, agent: DemoAgent, path: str) -> None:
        """Call a tool again and again, until so often after the receipt."""
        left = limits.demo_after_calls
        while left and trio.current_time() < self._until:
            left -= self._known
            await agent.call(path, {"input": "paragraph"})
            await trio.sleep(limits.demo_pace_seconds)


async def end_everywhere(
    stage: DemoStage, hear: OnAgentEvent, tell: Callable[[str], None]
) -> ClusterObservations:
    """Play the act on three running gateways; DemoError if it does not end."""
    act = ClusterAct(hear)
    with Orchestrator.from_config(stage.config, crew=CREW) as article:
        run = article.start_run(credits=CREDITS, tools=RUN_TOOLS)
        crew = {
            part.role: article.spawn(
                role=part.role, parent=run, tools=part.tools, credits=part.credits
            )
            for part in CAST
        }
        auths = {role: TokenAuth(agent) for role, agent in crew.items()}
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
                tell("the translator's branch is revoked at gateway 1, which never saw it")
                branch = crew[TRANSLATOR.role].branch
                revoked = await revoke(stage, branch, "--crew", CREW, "--until", "all")
                tell(receipt_of(revoked))
                act.learn()
    if scope.cancelled_caught:
        raise DemoError(f"the third act was not over after {limits.demo_story_seconds:g} s")
    branches = {role: agent.branch for role, agent in crew.items()}
    return ClusterObservations(branches, act.said, revoked, 1 + len(stage.further))


def receipt_of(revoked: ObservedRevocation) -> str:
    """What the receipt of a revocation says of the machines."""
    receipt = revoked.receipt
    where = f"on the disks of {receipt.applied_on} of {receipt.of} machines"
    return f"the receipt: {where} after {receipt.ms:.1f} ms"


async def ask_audits(stage: DemoStage) -> tuple[list[CallRow], list[CallRow]]:
    """All that the first gateway wrote down, and all that the others did; none need run."""
    found: dict[DemoStage, list[CallRow]] = {}

    async def ask(at: DemoStage) -> None:
        found[at] = await ask_audit(at)

    async with trio.open_nursery() as nursery:
        for at in (stage, *stage.further):
            nursery.start_soon(ask, at)
    return found[stage], [row for at in stage.further for row in found[at]]


async def _work(
    act: ClusterAct, at: DemoStage, auth: TokenAuth, note: Callable[[AgentEvent], None], path: str
) -> None:
    """One agent's life at one gateway."""
    async with client(at.url, at.ca, auth) as http:
        agent = DemoAgent(http, note)
        if path == SUMMARY:
            await agent.listen(path, {"of": "the translation"})
        else:
            await act.call(agent, path)
