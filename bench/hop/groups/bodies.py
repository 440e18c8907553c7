"""Bodies: 64 KiB at once and in pieces, down and up."""

from functools import partial
from pathlib import Path

from bench.hop import own_load
from bench.hop.arena import Arena
from bench.hop.client import Plan
from bench.hop.figures import Case, Measured, Sample, interleaved
from bench.hop.gateways import Gateway
from bench.hop.groups.group import Group
from bench.hop.load import Load, Shape, at_least
from bench.hop.tools import LARGE, STREAM, TAKE

SHAPE = Shape(16, 8)
BODY_BYTES = 64 * 1024
PIECES = 16


def body(folder: Path) -> Path:
    """A file for h2load to send."""
    path = folder / "body"
    path.write_bytes(b"u" * BODY_BYTES)
    return path


def stream(gateway: Gateway, token: str, requests: int) -> Sample:
    """A sample of requests whose body has no length and comes in pieces; by the own client."""
    shape = SHAPE
    plan = Plan(
        gateway.port,
        TAKE.path,
        (token,),
        shape.connections,
        shape.streams,
        requests=at_least(requests // gateway.share, shape),
        method=TAKE.method,
        pieces=PIECES,
        piece_bytes=BODY_BYTES // PIECES,
    )
    return own_load.sample(gateway.process.pid, plan)


def measure(arena: Arena) -> list[Measured]:
    """All gateways."""
    upload = body(arena.folder)
    loads = {
        "answer of 64 KiB": Load(SHAPE, LARGE.path),
        "answer of 16 × 4 KiB, streamed": Load(SHAPE, STREAM.path),
        "request of 64 KiB": Load(SHAPE, TAKE.path, body=upload),
    }
    cases = [
        arena.case(title, gateway, load)
        for title, load in loads.items()
        for gateway in arena.gateways
    ]
    cases += [
        Case(
            Measured("request of 16 × 4 KiB, streamed", gateway.name),
            partial(stream, gateway, arena.tokens.tool),
        )
        for gateway in arena.gateways
    ]
    return interleaved(cases, arena.rounds, arena.requests)


GROUP = Group("bodies", f"Bodies, {SHAPE.name}", measure, rounds=0.6, requests=0.2)
