"""MCP: `tools/call` of 1 KiB, beside a call of a plain tool with a body of the same size."""

from functools import partial
from pathlib import Path

from bench.hop import mcp_messages
from bench.hop.arena import Arena, introduce, running
from bench.hop.figures import CPU, Measured, find, interleaved
from bench.hop.gateways import CREWGATE, start_crewgate
from bench.hop.groups.group import Group, Results
from bench.hop.load import Load, Shape, bearer
from bench.hop.mcp_server import MODERN, PATH, TOOL
from bench.hop.stage import ENDPOINT_TOOLS, arrange_mcp, mint
from bench.hop.tools import PAGE, TAKE
from bench.report import Goal

SHAPES = (Shape(16, 8), Shape(16, 1))
RATIO_MAX = 1.3


def written(folder: Path, name: str, data: bytes) -> Path:
    """A file for h2load to send."""
    path = folder / name
    path.write_bytes(data)
    return path


def measure(arena: Arena) -> list[Measured]:
    """A gateway of its own, which has an endpoint and the tools of every other group."""
    stage = arrange_mcp(arena.folder / "mcp", arena.servers)
    message = mcp_messages.call(TOOL, MODERN)
    call = written(arena.folder, "call.json", message)
    plain = written(arena.folder, "plain", b"u" * len(message))
    start = partial(start_crewgate, stage, stage.folder, arena.environment)
    with running(start) as gateway:
        (token,) = mint(stage, [ENDPOINT_TOOLS, TAKE.name, PAGE.name])
        introduce(gateway, token, arena.log)
        shown = bearer(token)
        fields = (*shown, *mcp_messages.fields(TOOL, MODERN))
        cases = [
            arena.case(f"{title}, {shape.name}", gateway, load)
            for shape in SHAPES
            for title, load in (
                ("plain", Load(shape, TAKE.path, shown, body=plain)),
                ("tools/call", Load(shape, PATH.decode(), fields, body=call)),
            )
        ]
        return interleaved(cases, arena.rounds, arena.requests)


def goals(results: Results) -> list[Goal]:
    """A call of an endpoint costs little more than a plain one."""
    held = []
    for shape in SHAPES:
        plain = find(results, f"plain, {shape.name}", CREWGATE)
        call = find(results, f"tools/call, {shape.name}", CREWGATE)
        if plain and call:
            ratio = call.ratio(CPU, plain).median
            what = f"CPU of tools/call to a plain call, {shape.name}"
            held.append(Goal(what, RATIO_MAX, ratio, "×"))
    return held


GROUP = Group("mcp", "MCP: tools/call of 1 KiB beside a plain call", measure, goals=goals)
