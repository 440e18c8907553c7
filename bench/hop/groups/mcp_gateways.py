"""MCP: `tools/call` of 1 KiB through Crewgate and through other gateways that speak MCP.

All of them have the same MCP server behind them. Before the load, one call through each must have a
result, and one without a credential must not, unless the gateway lets everybody through.
"""

import time
from contextlib import ExitStack
from dataclasses import dataclass

from bench.hop import mcp_gateways, mcp_messages
from bench.hop.arena import ATTEMPT_SECONDS, ATTEMPTS, Arena, running
from bench.hop.figures import CPU, P99, Case, Measured, find, interleaved
from bench.hop.gateways import CREWGATE, Gateway
from bench.hop.groups.group import Group, Results
from bench.hop.groups.mcp import written
from bench.hop.load import Load, Shape
from bench.hop.mcp_gateways import CONTEXTFORGE, LITELLM, MCPGateway
from bench.hop.mcp_messages import Answer
from bench.hop.mcp_server import LEGACY, MODERN, PATH
from bench.hop.stage import arrange_mcp
from bench.report import Goal

HTTP2 = ((MODERN, Shape(16, 8)), (MODERN, Shape(16, 1)))
HTTP1 = ((MODERN, Shape(16, 1)), (LEGACY, Shape(16, 1)))
RATIO_MAX = 0.1  # of Crewgate's CPU and p99 over those of a gateway in Python


@dataclass(frozen=True)
class Ready:
    """A gateway that runs, and the fields that let a caller in."""

    kind: MCPGateway
    gateway: Gateway
    credential: tuple[str, ...]

    def load(self, arena: Arena, revision: str, shape: Shape, *, http1: bool) -> Load:
        """A load of calls; the length of an answer is that of one which has been read."""
        tool, port, path = self.kind.tool, self.gateway.port, PATH.decode()
        message = mcp_messages.call(tool, revision)
        fields = (*mcp_messages.fields(tool, revision), *self.credential)
        if revision == LEGACY:
            fields += mcp_messages.opened(port, path, self.credential)
        answer = proved(self.kind.name, port, fields, message)
        body = written(arena.folder, f"{self.kind.name}-{revision}.json", message)
        size, spared = len(answer.body), self.kind.spared
        return Load(shape, path, fields, http1=http1, body=body, answer_bytes=size, spared=spared)


def proved(name: str, port: int, fields: tuple[str, ...], message: bytes) -> Answer:
    """The answer to a call; ends the group unless it becomes a result within some attempts."""
    for _ in range(ATTEMPTS):
        answer = mcp_messages.post(port, PATH.decode(), fields, message)
        if mcp_messages.succeeded(answer):
            return answer
        time.sleep(ATTEMPT_SECONDS)
    raise SystemExit(f"bench: {name} does not call the tool: {answer.status} {answer.body[:300]!r}")


def check_refusal(ready: Ready) -> None:
    """End the group if a gateway that should judge answers a caller without a credential."""
    revision, tool = ready.kind.revisions[0], ready.kind.tool
    fields, message = mcp_messages.fields(tool, revision), mcp_messages.call(tool, revision)
    answer = mcp_messages.post(ready.gateway.port, PATH.decode(), fields, message)
    if mcp_messages.succeeded(answer) is ready.gateway.judges:
        raise SystemExit(f"bench: {ready.gateway.name} does not judge as it should")


def begun(arena: Arena, stack: ExitStack) -> list[Ready]:
    """Start those that are asked for; one that cannot be here is left out, with its reason."""
    folder = arena.folder / "mcp-gateways"
    stage = arrange_mcp(folder, arena.servers)
    found = []
    for kind in mcp_gateways.compared(stage, folder, arena.environment):
        if kind.name != CREWGATE and kind.name not in arena.names:
            continue
        mcp_gateways.install(kind.name, arena.environment)
        reason = mcp_gateways.missing(kind.name, arena.environment)
        if reason:
            arena.left_out[kind.name] = reason
            continue
        gateway = stack.enter_context(running(kind.start))
        arena.versions[kind.name] = gateway.version
        found.append(Ready(kind, gateway, kind.credential(gateway)))
        check_refusal(found[-1])
    return found


def measure(arena: Arena) -> list[Measured]:
    """Both revisions, over HTTP/1.1 for all and over HTTP/2 for those that speak it."""
    with ExitStack() as stack:
        present = begun(arena, stack)
        cases = [
            case(arena, ready, revision, shape, http1=http1)
            for http1, wanted in ((False, HTTP2), (True, HTTP1))
            for revision, shape in wanted
            for ready in present
            if revision in ready.kind.revisions and (http1 or ready.kind.speaks_http2)
        ]
        return interleaved(cases, arena.rounds, arena.requests)


def case(arena: Arena, ready: Ready, revision: str, shape: Shape, *, http1: bool) -> Case:
    """One gateway, one revision, one shape."""
    load = ready.load(arena, revision, shape, http1=http1)
    return arena.case(title(revision, shape, http1=http1), ready.gateway, load)


def title(revision: str, shape: Shape, *, http1: bool) -> str:
    """As it stands in tables."""
    return f"{revision} over HTTP/{'1.1' if http1 else '2'}, {shape.name}"


def goals(results: Results) -> list[Goal]:
    """Crewgate spends less than the programs that are MCP gateways too, and its calls wait less."""
    held = []
    for revision, shape in HTTP1:
        name = title(revision, shape, http1=True)
        own = find(results, name, CREWGATE)
        for other in (CONTEXTFORGE, LITELLM):
            their = find(results, name, other)
            if own and their:
                for figure, what in ((CPU, "CPU"), (P99, "p99")):
                    ratio = own.ratio(figure, their).median
                    held.append(Goal(f"{what} over {other}'s, {name}", RATIO_MAX, ratio, "×"))
    return held


GROUP = Group(
    "mcp_gateways",
    "MCP: tools/call of 1 KiB through gateways that speak MCP",
    measure,
    goals=goals,
    rounds=0.6,
    requests=0.25,
    usual=False,
)
