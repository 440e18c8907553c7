"""MCP: `tools/call` of 1 KiB, beside a call of a plain tool with a body of the same size."""

import json
from functools import partial
from pathlib import Path

from bench.hop.arena import Arena, introduce, running
from bench.hop.figures import CPU, Measured, find, interleaved
from bench.hop.gateways import CREWGATE, start_crewgate
from bench.hop.groups.group import Group, Results
from bench.hop.load import Load, Shape, bearer
from bench.hop.stage import arrange, mint
from bench.hop.tools import PAGE, TAKE
from bench.report import Goal

SHAPES = (Shape(16, 8), Shape(16, 1))
BODY_BYTES = 1024
RATIO_MAX = 1.3
ENDPOINT = """
[mcp.bench]
path = "/mcp"
upstream = "tools"
price = "0.01"
"""
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
FIELDS = (
    "content-type: application/json",
    "accept: application/json, text/event-stream",
    "mcp-protocol-version: 2026-07-28",
    "mcp-method: tools/call",
    "mcp-name: search",
)


def message() -> bytes:
    """A call of `BODY_BYTES` bytes."""
    arguments = {"query": ""}
    params = {"name": "search", "arguments": arguments, "_meta": META}
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    arguments["query"] = "q" * (BODY_BYTES - len(json.dumps(call)))
    return json.dumps(call).encode()


def written(folder: Path, name: str, data: bytes) -> Path:
    """A file for h2load to send."""
    path = folder / name
    path.write_bytes(data)
    return path


def measure(arena: Arena) -> list[Measured]:
    """A gateway of its own, which has an endpoint and the tools of every other group."""
    stage = arrange(arena.folder / "mcp", arena.servers)
    with stage.file.open("a", encoding="utf-8") as file:
        file.write(ENDPOINT)
    text = stage.file.read_text(encoding="utf-8")
    stage.file.write_text(text.replace('tools = ["', 'tools = ["bench.*", "', 1), encoding="utf-8")
    call = written(arena.folder, "call.json", message())
    plain = written(arena.folder, "plain", b"u" * BODY_BYTES)
    start = partial(start_crewgate, stage, stage.folder, arena.environment)
    with running(start) as gateway:
        (token,) = mint(stage, ["bench.*", TAKE.name, PAGE.name])
        introduce(gateway, token, arena.log)
        fields = bearer(token)
        cases = [
            arena.case(f"{title}, {shape.name}", gateway, load)
            for shape in SHAPES
            for title, load in (
                ("plain", Load(shape, TAKE.path, fields, body=plain)),
                ("tools/call", Load(shape, "/mcp", (*fields, *FIELDS), body=call)),
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
